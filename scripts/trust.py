"""Sets of classes and intervals on twenty tables, real ones of scikit-learn and made ones: what they hold, and ONNX Runtime beside the command.

python trust.py FOLDER PROGRAM

Each table is cut in two; the command trains on the first, holds two fifths of it out, and predicts the second. How many of the rows to come are
held is beta-binomial, whatever the model (Vovk, 2012): each share must lie in the middle 99.9 % of that, also that of each class where sets are
made per class. Exported, each model must give the same sets and the same bounds in ONNX Runtime.
"""

import csv
import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import onnxruntime
from scipy.stats import betabinom
from sklearn import datasets

warnings.filterwarnings("ignore")
folder, kiln = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
random = np.random.default_rng(11)


def made_numbers(name, rows=1500):
    x = random.uniform(-1, 1, (rows, 4))
    noise = random.normal(size=rows)
    mean = 3 * x[:, 0] + np.sin(4 * x[:, 1])
    return x, {
        "even": mean + noise,
        "uneven": mean + noise * np.exp(1.5 * x[:, 0]),
        "skewed": np.exp(mean / 2 + noise),
        "heavy": mean + random.standard_t(2, rows),
        "whole": np.round(mean + noise) + 40,
        "steps": np.where(x[:, 0] > 0, 5, 0) + noise * (1 + 3 * (x[:, 1] > 0)),
    }[name]


def made_classes(seed, **how):
    how = {"n_samples": 1500, "n_features": 8, "n_informative": 5, "n_redundant": 1, "random_state": seed, **how}
    return datasets.make_classification(**how)


def words(x, y):
    """Two of the columns as words, with gaps in a third."""
    x = x.astype(object)
    for at, of in ((0, ["red", "blue", "white"]), (1, ["ulm", "bonn"])):
        cuts = np.quantile(x[:, at].astype(float), np.linspace(0, 1, len(of) + 1)[1:-1])
        x[:, at] = [of[int(np.searchsorted(cuts, v))] for v in x[:, at].astype(float)]
    x[random.random(len(x)) < 0.1, 2] = ""
    return x, y


real = lambda load: load(return_X_y=True)
TABLES = {
    "iris": ("classes", lambda: real(datasets.load_iris)),
    "wine": ("classes", lambda: real(datasets.load_wine)),
    "cancer": ("classes", lambda: real(datasets.load_breast_cancer)),
    "digits": ("classes", lambda: real(datasets.load_digits)),
    "two": ("classes", lambda: made_classes(1)),
    "noisy": ("classes", lambda: made_classes(2, flip_y=0.3)),
    "four": ("classes", lambda: made_classes(3, n_classes=4)),
    "rare": ("classes", lambda: made_classes(4, n_classes=3, weights=[0.75, 0.18, 0.07])),
    "uneven": ("classes", lambda: made_classes(5, weights=[0.85, 0.15])),
    "words": ("classes", lambda: words(*made_classes(6, n_classes=3))),
    "moons": ("classes", lambda: datasets.make_moons(1200, noise=0.35, random_state=7)),
    "circles": ("classes", lambda: datasets.make_circles(1200, noise=0.2, factor=0.6, random_state=8)),
    "diabetes": ("numbers", lambda: real(datasets.load_diabetes)),
    "friedman": ("numbers", lambda: datasets.make_friedman1(1200, noise=1.0, random_state=9)),
} | {f"numbers-{name}": ("numbers", lambda name=name: made_numbers(name)) for name in ("even", "uneven", "skewed", "heavy", "whole", "steps")}
assert len(TABLES) == 20


def run(*arguments):
    done = subprocess.run([kiln, *map(str, arguments)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"kiln {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def write(path, names, x, y):
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*names, "target"])
        rows.writerows([*row, target] for row, target in zip(x, y))


def is_within(held, rows, found, coverage):
    """Whether so many of the rows may be held where a threshold was found on so many."""
    rank = int(np.ceil((found + 1) * coverage - 1e-9))
    if rank > found:
        return held == rows, (1.0, 1.0)
    low, high = betabinom(rows, rank, found + 1 - rank).ppf([0.0005, 0.9995])
    return low <= held <= high, (low / rows, high / rows)


def feeds(session, names, x):
    """The columns as the graph takes them."""
    all = {}
    for port in session.get_inputs():
        column = x[:, names.index(port.name)]
        if port.type == "tensor(string)":
            values = np.array([str(v) for v in column], dtype=object)
        else:
            values = np.array([np.nan if v == "" else v for v in column], dtype=np.float32)
        all[port.name] = values.reshape(-1, 1)
    return all


failed = 0
for at, (table, (task, load)) in enumerate(TABLES.items()):
    x, y = load()
    names = [f"c{column}" for column in range(x.shape[1])]
    order = np.random.default_rng(at).permutation(len(x))
    x, y = x[order], y[order]
    # Single precision is what a graph takes.
    if x.dtype != object:
        x = x.astype(np.float32).astype(float)
    cut = int(0.6 * len(x))
    y = [f"k{int(v)}" for v in y] if task == "classes" else [repr(float(v)) for v in y]
    write(folder / "train.csv", names, x[:cut], y[:cut])
    write(folder / "new.csv", names, x[cut:], y[cut:])
    coverage = [0.9, 0.8][at % 2]
    ways = [("linear", "lac"), ("trees", "per-class")] if task == "classes" else [("linear", None), ("trees", None)]
    for preset, kind in ways:
        out = folder / f"{table}-{preset}"
        how = ["--coverage", coverage, "--sets", kind, "--calibrate", "auto"] if kind else ["--task", "number", "--interval", coverage]
        run("train", "train.csv", "--target", "target", "--preset", preset, "--val-fraction", 0.4, "--test-fraction", 0,
            "--numbers", "standardise", "--quiet", "--out", out, *how)
        model = json.loads((out / "result.json").read_text())
        rows = list(csv.DictReader(run("predict", out / "model.kiln", "new.csv").splitlines()))
        run("export", out / "model.kiln", out / "m.onnx")
        session = onnxruntime.InferenceSession(str(out / "m.onnx"), providers=["CPUExecutionProvider"])
        given = dict(zip([port.name for port in session.get_outputs()], session.run(None, feeds(session, names, x[cut:]))))
        if kind:
            sets = [set(row["set"].split(";")) for row in rows]
            held = np.array([target in own for target, own in zip(y[cut:], sets)])
            classes = [column[2:-1] for column in rows[0] if column.startswith("p(")]
            theirs = [{name for name, is_in in zip(classes, own) if is_in} - {""} for own in given["set"]]
            same = sum(a - {""} == b for a, b in zip(sets, theirs))
            found = model["calibration"]["sets"][0]["rows"]
            shares = [("all", held, found)]
            if kind == "per-class":
                labels = np.array(y[cut:])
                shares = []
                for entry in classes:
                    # As many rows of the class were held out as its share of what was.
                    own = int(round(found * np.mean(np.array(y[:cut]) == entry)))
                    shares.append((entry, held[labels == entry], own))
            agrees = same == len(rows)
        else:
            low, high = (np.array([float(row[f"target.{end}"]) for row in rows]) for end in ("low", "high"))
            truth = np.array([float(v) for v in y[cut:]])
            held = (low <= truth) & (truth <= high)
            off = max(np.abs(given["low"][:, 0] - low).max(), np.abs(given["high"][:, 0] - high).max())
            shares = [("all", held, model["calibration"]["found"][0]["rows"])]
            agrees = off <= 1e-4 * np.abs(high).max()
        for name, own, found in shares:
            # How many rows of a class were held out isn't known to the row.
            about = range(max(1, found - 4), found + 5) if kind == "per-class" else [found]
            tried = [is_within(int(own.sum()), len(own), rows, coverage) for rows in about]
            is_right, (least, most) = max(tried, key=lambda verdict: verdict[0])
            verdict = "" if is_right else "  OUTSIDE"
            failed += not is_right
            print(f"{table:16} {preset:7} {kind or 'interval':9} {name:6} asked {coverage:.2f} held {own.mean():.3f} of {len(own):4}"
                  f" (between {least:.3f} and {most:.3f}){verdict}", flush=True)
        if not agrees:
            failed += 1
            print(f"{table:16} {preset:7} ONNX Runtime says something else", flush=True)
sys.exit(f"{failed} failed" if failed else 0)
