#!/usr/bin/env python3
"""kiln beside its peers on development tables: log loss of classes, root mean square error of numbers, on a fifth of the rows that is cut by
the seed. Tables are those that scikit-learn, statsmodels and palmerpenguins ship, and made ones; none of them is one that kiln is judged by.

    scripts/tables.py --kiln mlp="target/release/kiln --preset mlp" --kiln default=target/release/kiln --seeds 1-2
    scripts/tables.py --peers linear,lightgbm,catboost,realmlp,tabm --seeds 1-5 --only heart,rough

What peers said is kept in --cache and asked for once; kiln is run each time, unless `--keep` is said. A variant is a name, the program and flags of
`kiln train`. Wants scikit-learn, statsmodels, palmerpenguins, pandas and whichever peers are named; LIMIT seconds end a run."""

import argparse, io, json, os, subprocess, sys, tempfile, threading, time, warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import numpy as np
import pandas as pd

LIMIT = 900
PEERS = ["linear", "lightgbm", "catboost", "realmlp", "tabm"]
ROOT = Path(__file__).resolve().parent.parent


# ---- the tables: each a frame with the column `target`, and whether that is one of some classes


def frame(x, y, classes, names=None):
    columns = names if names is not None else [f"x{at}" for at in range(x.shape[1])]
    made = pd.DataFrame(x, columns=[str(name).replace(",", " ") for name in columns])
    made["target"] = [f"c{int(value)}" for value in y] if classes else np.asarray(y, float)
    return made, classes


def of_sklearn(name, classes=True):
    from sklearn import datasets

    data = getattr(datasets, "load_" + name)()
    return frame(data.data, data.target, classes, data.feature_names)


def of_statsmodels(name, target, classes, drop=(), rows=None, make=None):
    import statsmodels.datasets as datasets

    data = getattr(datasets, name).load_pandas().data.reset_index(drop=True)
    if rows and len(data) > rows:
        data = data.sample(rows, random_state=0).reset_index(drop=True)
    y = make(data) if make else data[target]
    data = data.drop(columns=[column for column in [target, *drop] if column in data])
    data["target"] = [f"c{int(value)}" for value in y] if classes else y.astype(float)
    return data, classes


def penguins(target, classes):
    import palmerpenguins

    data = palmerpenguins.load_penguins()
    data = data.rename(columns={target: "target"}).dropna(subset=["target"]).reset_index(drop=True)
    return data, classes


def heart():
    for folder in os.environ.get("KILN_DATA", "").split(":") + [str(ROOT.parent / "shared" / "data"), str(ROOT / "data")]:
        if folder and (Path(folder) / "heart.csv").exists():
            data = pd.read_csv(Path(folder) / "heart.csv")
            data["target"] = [f"c{value}" for value in data["target"]]
            return data, True
    return None


def uniform(rows, columns, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, columns))


def rough(rows=3000, classes=False):
    """A sum of steps in boxes, as a forest draws them."""
    rng = np.random.default_rng(1)
    x, y = uniform(rows, 8), np.zeros(rows)
    for _ in range(60):
        sides = rng.choice(8, 3, replace=False)
        y += rng.normal() * np.all(x[:, sides] * rng.choice([-1, 1], 3) > rng.uniform(-0.6, 0.3, 3), axis=1)
    y = y + 0.2 * rng.normal(size=rows)
    return frame(x, y > np.median(y), True) if classes else frame(x, y, False)


def smooth(rows=2000):
    from sklearn.datasets import make_friedman1

    return frame(*make_friedman1(rows, 10, noise=1.0, random_state=0), False)


def waves(rows=3000):
    """Periods in two of six columns."""
    rng, x = np.random.default_rng(2), uniform(rows, 6)
    y = np.sin(9 * x[:, 0]) + np.cos(14 * x[:, 1]) * x[:, 2] + 0.5 * x[:, 3] + 0.2 * rng.normal(size=rows)
    return frame(x, y, False)


def sparse(rows=1500):
    """Five of eighty columns say something."""
    rng, x = np.random.default_rng(3), np.random.default_rng(3).normal(size=(rows, 80))
    y = x[:, 0] * x[:, 1] + x[:, 2] + np.abs(x[:, 3]) - x[:, 4] + 0.5 * rng.normal(size=rows)
    return frame(x, y > 0.8, True)


def skewed(rows=3000):
    """Prices: products of factors, from columns with long tails."""
    rng = np.random.default_rng(4)
    x = np.exp(rng.normal(size=(rows, 6)) * [0.5, 1.0, 1.5, 0.8, 0.3, 1.0])
    log = 1.2 * np.log(x[:, 0]) + 0.6 * np.log1p(x[:, 1]) - 0.4 * (x[:, 2] > 2) + 0.3 * np.log(x[:, 3]) * x[:, 4]
    return frame(x, 1000 * np.exp(log + 0.25 * rng.normal(size=rows)), False)


def outliers(rows=2000):
    """Columns in which a few cells lie a thousand times as far as the others."""
    rng, x = np.random.default_rng(5), np.random.default_rng(5).normal(size=(rows, 6))
    y = x[:, 0] - np.tanh(2 * x[:, 1]) + x[:, 2] * x[:, 3] + 0.3 * rng.normal(size=rows)
    far = rng.uniform(size=x.shape) < 0.01
    return frame(np.where(far, x * 1000, x), y, False)


def noisy(rows=2000):
    from sklearn.datasets import make_classification

    return frame(*make_classification(rows, 12, n_informative=6, flip_y=0.3, random_state=6), True)


def five(rows=2500):
    from sklearn.datasets import make_classification

    return frame(*make_classification(rows, 16, n_informative=8, n_classes=5, n_clusters_per_class=2, random_state=7), True)


def hastie(rows=3000):
    from sklearn.datasets import make_hastie_10_2

    x, y = make_hastie_10_2(rows, random_state=8)
    return frame(x, y > 0, True)


def shops(rows=4000, words=True):
    """200 shops with an effect each, as words or as whole numbers that say nothing by their order, beside amounts and a weekday."""
    rng = np.random.default_rng(9)
    shop = np.minimum(rng.geometric(0.012, rows), 200) - 1
    effect, day = rng.normal(size=200), rng.integers(0, 7, rows)
    x = rng.normal(size=(rows, 3))
    y = effect[shop] + 0.7 * x[:, 0] + effect[shop] * x[:, 1] * 0.5 + 0.5 * (day > 4) + 0.4 * rng.normal(size=rows)
    made, _ = frame(x, y, False)
    names = [f"shop {number:03}" for number in rng.permutation(200)] if words else rng.permutation(200) * 7 + 11
    made["shop"] = [names[at] for at in shop]
    made["day"] = np.array(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])[day]
    return made, False


def gaps(rows=2500):
    """A quarter of all cells is missing, in one column where it tells."""
    rng, x = np.random.default_rng(10), np.random.default_rng(10).normal(size=(rows, 8))
    y = x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.3 * rng.normal(size=rows)
    hidden = rng.uniform(size=x.shape) < 0.25
    hidden[:, 0] = (x[:, 0] > 0.5) & (rng.uniform(size=rows) < 0.7)
    return frame(np.where(hidden, np.nan, x), y > 0.3, True)


TABLES = {
    "cancer": lambda: of_sklearn("breast_cancer"),
    "wine": lambda: of_sklearn("wine"),
    "iris": lambda: of_sklearn("iris"),
    "digits": lambda: of_sklearn("digits"),
    "diabetes": lambda: of_sklearn("diabetes", False),
    "penguins": lambda: penguins("sex", True),
    "mass": lambda: penguins("body_mass_g", False),
    "heart": heart,
    "fair": lambda: of_statsmodels("fair", "affairs", True, rows=4000, make=lambda data: data["affairs"] > 0),
    "anes96": lambda: of_statsmodels("anes96", "vote", True),
    "randhie": lambda: of_statsmodels("randhie", "mdvis", False, rows=4000),
    "star98": lambda: of_statsmodels("star98", "share", False, ["NABOVE", "NBELOW"],
                                     make=lambda data: data["NABOVE"] / (data["NABOVE"] + data["NBELOW"])),
    "ccard": lambda: of_statsmodels("ccard", "AVGEXP", False),
    "engel": lambda: of_statsmodels("engel", "foodexp", False),
    "grunfeld": lambda: of_statsmodels("grunfeld", "invest", False),
    "rough": rough,
    "boxes": lambda: rough(classes=True),
    "smooth": smooth,
    "waves": waves,
    "sparse": sparse,
    "skewed": skewed,
    "outliers": outliers,
    "noisy": noisy,
    "five": five,
    "hastie": hastie,
    "shops": shops,
    "shop-ids": lambda: shops(words=False),
    "gaps": gaps,
}


def cut(data, classes, seed):
    from sklearn.model_selection import train_test_split

    return train_test_split(data, test_size=0.2, random_state=seed, stratify=data["target"] if classes else None)


# ---- what a model said, and how good that was


def loss(truth, said, names):
    """Log loss where there are classes, else the root mean square error."""
    if names is None:
        return float(np.sqrt(np.mean((np.asarray(truth, float) - np.asarray(said, float)) ** 2)))
    said = np.clip(np.asarray(said, float), 1e-7, 1)
    said = said / said.sum(1, keepdims=True)
    return float(-np.mean(np.log(said[np.arange(len(said)), [names.index(name) for name in truth]])))


def waited(command, **options):
    """Runs a program: its output, seconds of processors, and MiB at the most."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, **options)
        timer = threading.Timer(LIMIT, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        out.seek(0), err.seek(0)
        text, errors = out.read().decode(), err.read().decode()
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))}: {errors[-600:]}")
    return text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def run_kiln(command, train, test, classes, seed):
    program, *flags = [word.replace("@", " ") for word in command.split()]
    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(f"{folder}/train.csv", index=False)
        test.drop(columns="target").to_csv(f"{folder}/test.csv", index=False)
        task = [] if classes else ["--task", "number"]
        said = [program, "train", "train.csv", "--target", "target", "--test-fraction", "0", "--seed", str(seed),
                "--out", "run", "--quiet", *task, *flags]
        _, seconds, memory = waited(said, cwd=folder)
        out, *_ = waited([program, "predict", "run/model.kiln", "test.csv"], cwd=folder)
    said = pd.read_csv(io.StringIO(out))
    if not classes:
        return loss(test["target"], said[said.columns[-1]], None), seconds, memory
    names = sorted(set(train["target"]))
    return loss(test["target"], said[[f"p({name})" for name in names]], names), seconds, memory


def run_peer(peer, table, seed):
    """In a process of its own, for its memory."""
    out, _, memory = waited([sys.executable, __file__, "--one", peer, "--only", table, "--seeds", str(seed)])
    return (*json.loads(out.splitlines()[-1]), memory)


def one_peer(peer, table, seed):
    data, classes = TABLES[table]()
    train, test = cut(data, classes, seed)
    x, y, x_test = train.drop(columns="target"), train["target"], test.drop(columns="target")
    words = [column for column in x if not pd.api.types.is_numeric_dtype(x[column])]
    names = sorted(set(y)) if classes else None
    y = np.array([names.index(name) for name in y]) if classes else y.to_numpy(float)
    filled = lambda part: part.assign(**{word: part[word].fillna("(missing)").astype(str) for word in words})
    x, x_test = filled(x), filled(x_test)
    fit, said = {"linear": linear, "lightgbm": lightgbm, "catboost": catboost}.get(peer, pytabkit)(peer, x, words, classes, seed)
    start = time.process_time()
    model = fit(x, y)
    said = said(model, x_test)
    return loss(test["target"], said, names), time.process_time() - start


def asked(classes):
    return (lambda model, x: model.predict_proba(x)) if classes else (lambda model, x: model.predict(x))


def linear(_, x, words, classes, seed):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [column for column in x if column not in words]
    front = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        ("words", OneHotEncoder(handle_unknown="ignore"), words)])
    model = LogisticRegressionCV(max_iter=500, scoring="neg_log_loss") if classes else RidgeCV(np.logspace(-3, 3, 13))
    return make_pipeline(front, model).fit, asked(classes)


def lightgbm(_, x, words, classes, seed):
    import lightgbm as peer

    model = (peer.LGBMClassifier if classes else peer.LGBMRegressor)(random_state=seed, n_jobs=1, verbose=-1)
    known = {word: sorted(set(x[word])) for word in words}
    coded = lambda x: x.assign(**{w: pd.Categorical(x[w], categories=known[w]) for w in words}).rename(
        columns=lambda name: "".join(c if c.isalnum() else "_" for c in name))
    said = asked(classes)
    return (lambda x, y: model.fit(coded(x), y)), (lambda model, x: said(model, coded(x)))


def catboost(_, x, words, classes, seed):
    import catboost as peer

    settings = dict(random_seed=seed, thread_count=1, verbose=0, allow_writing_files=False)
    model = (peer.CatBoostClassifier if classes else peer.CatBoostRegressor)(**settings)
    return (lambda x, y: model.fit(x, y, cat_features=words)), asked(classes)


def pytabkit(name, x, words, classes, seed):
    import torch, pytabkit as peer

    torch.set_num_threads(1)
    kind = "Classifier" if classes else "Regressor"
    made = {"realmlp": "RealMLP_TD_", "tabm": "TabM_D_"}[name] + kind
    model = getattr(peer, made)(device="cpu", random_state=seed, n_threads=1, n_cv=1, n_refit=0)
    return (lambda x, y: model.fit(x, y, cat_col_names=words)), asked(classes)


# ---- what is shown


def show(results, names, tables, seeds):
    def mean(name, table, at):
        values = [results.get(f"{name}/{table}/{seed}") for seed in seeds]
        return np.nan if any(value is None for value in values) else float(np.mean([value[at] for value in values]))

    score = pd.DataFrame({name: {table: mean(name, table, 0) for table in tables} for name in names})
    seconds = pd.DataFrame({name: {table: mean(name, table, 1) for table in tables} for name in names})
    memory = pd.DataFrame({name: {table: mean(name, table, 2) for table in tables} for name in names})
    whole = score.dropna()
    print("| table | " + " | ".join(names) + " |\n|---" * 1 + "|---:" * len(names) + "|")
    for table, row in score.iterrows():
        best = row.min()
        cells = ["" if np.isnan(v) else f"**{v:.4g}**" if v <= best * 1.0001 else f"{v:.4g}" for v in row]
        print(f"| {table} | " + " | ".join(cells) + " |")
    line = lambda what, values: print(f"| {what} | " + " | ".join(values) + " |")
    line(f"mean rank on {len(whole)}", [f"{value:.2f}" for value in whole.rank(axis=1).mean()])
    ratio = np.exp(np.log(whole.div(whole.min(axis=1), axis=0)).clip(upper=np.log(4)).mean())
    line("mean ratio to the best", [f"{value:.3f}" for value in ratio])
    for other in names:
        at_least = [f"{(whole[name] <= whole[other] * 1.005).mean():.0%}" for name in names]
        line(f"at least {other} (0.5 %)", at_least)
    line("seconds of processors, mean", [f"{value:.1f}" for value in seconds.loc[whole.index].mean()])
    line("MiB, most", [f"{value:.0f}" for value in memory.loc[whole.index].max()])


def main():
    say = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    say.add_argument("--kiln", action="append", default=[], metavar='NAME="PROGRAM FLAGS"')
    say.add_argument("--peers", default="", help="of " + ", ".join(PEERS) + "; with commas between them")
    say.add_argument("--seeds", default="1-2")
    say.add_argument("--only", help="tables, with commas between them; -NAME leaves one out")
    say.add_argument("--cache", default=str(ROOT / "target/tables.json"))
    say.add_argument("--keep", action="store_true", help="keep what kiln said, too, by the variant's name")
    say.add_argument("--one", help=argparse.SUPPRESS)
    told = say.parse_args()
    least, _, most = told.seeds.partition("-")
    seeds = range(int(least), int(most or least) + 1)
    wanted = [name for name in (told.only or "").split(",") if name]
    tables = [name for name in TABLES if f"-{name}" not in wanted and (name in wanted or all(w[0] == "-" for w in wanted))]
    if told.one:
        return print(json.dumps(one_peer(told.one, tables[0], seeds[0])))
    peers = [name for name in told.peers.split(",") if name]
    variants = dict(said.split("=", 1) for said in told.kiln)
    cache = Path(told.cache)
    kept = json.loads(cache.read_text()) if cache.exists() else {}
    results = dict(kept)
    for table in list(tables):
        made = TABLES[table]()
        if made is None:
            print(f"{table}: its file isn't here; left out", file=sys.stderr)
            tables.remove(table)
            continue
        data, classes = made
        for seed in seeds:
            train, test = cut(data, classes, seed)
            for name in [*peers, *variants]:
                key = f"{name}/{table}/{seed}"
                if key in kept and (name in peers or told.keep):
                    continue
                results.pop(key, None)
                try:
                    results[key] = (run_peer(name, table, seed) if name in peers else
                                    run_kiln(variants[name], train, test, classes, seed))
                except RuntimeError as error:
                    print(f"{key}: {error}", file=sys.stderr)
                    continue
                print(f"{key}: {results[key][0]:.4g} in {results[key][1]:.1f} s", file=sys.stderr, flush=True)
                if name in peers or told.keep:
                    # Another run may have written meanwhile.
                    kept = json.loads(cache.read_text()) if cache.exists() else {}
                    kept[key] = results[key]
                    cache.parent.mkdir(exist_ok=True)
                    cache.with_suffix(f".{os.getpid()}").write_text(json.dumps(kept, indent=0))
                    cache.with_suffix(f".{os.getpid()}").rename(cache)
    show(results, [*peers, *variants], tables, seeds)


main()
