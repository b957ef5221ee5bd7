#!/usr/bin/env python3
"""kiln's forecasts beside its peers on series: mean absolute scaled error (MASE), from up to three origins, the last of which is where the horizon just
fits. Series are those that statsmodels ships, the air passengers of Box and Jenkins, and made ones; none of them is one that kiln is judged by.

    scripts/series.py --baselines target/release/examples/baselines
    scripts/series.py --kiln default=target/release/kiln --kiln quick="target/release/kiln --quick" --only air,co2

A variant of `--kiln` is a name, the program and flags of `kiln train`, which is asked from each origin. What peers said is kept in --cache and asked for once.
Wants statsmodels, statsforecast, scikit-learn and pandas; LIMIT seconds end a run."""

import argparse, csv, json, subprocess, sys, tempfile, time, warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import numpy as np
import pandas as pd

LIMIT = 900
FOLDS = 3
ROOT = Path(__file__).resolve().parent.parent


# ---- the series: each the first time, pandas' word for the frequency, the period, the horizon, and values of one or several


def of_statsmodels(name):
    import statsmodels.datasets as datasets

    return getattr(datasets, name).load_pandas().data


def air():
    from statsforecast.utils import AirPassengers

    return "1949-01-01", "MS", 12, 24, [np.asarray(AirPassengers, float)]


def co2():
    data = of_statsmodels("co2")["co2"].resample("MS").mean().interpolate()
    return "1958-03-01", "MS", 12, 24, [data.to_numpy().round(3)]


def weekly_co2():
    data = of_statsmodels("co2")["co2"].interpolate()[-800:]
    return str(data.index[0].date()), "W-SAT", 52, 26, [data.to_numpy().round(3)]


def elnino():
    return "1950-01-01", "MS", 12, 24, [of_statsmodels("elnino").iloc[:, 1:].to_numpy().ravel()]


def sunspots():
    return "1700-01-01", "YS", 11, 11, [of_statsmodels("sunspots")["SUNACTIVITY"].to_numpy()]


def macro():
    data = of_statsmodels("macrodata")
    return "1959-01-01", "QS", 4, 8, [data[name].to_numpy() for name in ["realgdp", "realcons", "realinv", "unemp", "cpi", "m1", "tbilrate"]]


def made(seed, count, length, period, horizon, frequency, one):
    rng = np.random.default_rng(seed)
    return "2020-01-01", frequency, period, horizon, [one(np.arange(length), rng).round(4) for _ in range(count)]


def wave(t, period, phase):
    return np.sin(2 * np.pi * (t / period + phase))


def trend(t, rng):
    return 100 + np.cumsum(rng.normal(0.3, 0.5, len(t))) + 8 * wave(t, 12, rng.uniform()) + rng.normal(0, 2, len(t))


def two_seasons(t, rng):
    week = np.repeat(rng.normal(0, 8, 7), 24)[t % 168]
    return 200 + 30 * wave(t, 24, rng.uniform()) + week + rng.normal(0, 5, len(t))


def breaks(t, rng):
    jumps = np.cumsum((rng.uniform(size=len(t)) < 0.01) * rng.normal(0, 30, len(t)))
    return 150 + jumps + 10 * wave(t, 7, rng.uniform()) + rng.normal(0, 4, len(t))


def intermittent(t, rng):
    often = 0.3 + 0.2 * wave(t, 7, rng.uniform())
    return np.where(rng.uniform(size=len(t)) < often, rng.poisson(5, len(t)) + 1, 0).astype(float)


SERIES = {
    "air": air,
    "co2": co2,
    "co2-weekly": weekly_co2,
    "elnino": elnino,
    "sunspots": sunspots,
    "macro": macro,
    "trend": lambda: made(1, 6, 144, 12, 12, "MS", trend),
    "two-seasons": lambda: made(2, 4, 24 * 42, 24, 48, "h", two_seasons),
    "breaks": lambda: made(3, 6, 400, 7, 28, "D", breaks),
    "intermittent": lambda: made(4, 8, 365, 7, 28, "D", intermittent),
}


def origins(length, horizon, period):
    found = [length - fold * horizon for fold in range(FOLDS, 0, -1)]
    return [origin for origin in found if origin >= 2 * period + 4]


def mase(history, actual, said, period):
    scale = np.mean(np.abs(history[period:] - history[:-period]))
    return float(np.mean(np.abs(actual - said)) / scale)


# ---- the peers: from a history the next steps


def autoets(history, period, horizon, frequency):
    from statsforecast.models import AutoETS

    return AutoETS(season_length=period).fit(np.asarray(history, float)).predict(horizon)["mean"]


def boosting(history, period, horizon, frequency):
    """One forest for each step of the horizon, on the last values and those of the last two seasons."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    most = min(max(2 * period, 12), len(history) // 3)
    windows = np.lib.stride_tricks.sliding_window_view(history, most)
    said = []
    for step in range(1, horizon + 1):
        x, y = windows[: len(windows) - step], history[most + step - 1 :]
        model = HistGradientBoostingRegressor(random_state=0, min_samples_leaf=min(20, max(2, len(y) // 10)))
        said.append(model.fit(x, y).predict(windows[-1:])[0])
    return np.array(said)


def seasonal_naive(history, period, horizon, frequency):
    return np.array([history[len(history) - period + step % period] for step in range(horizon)])


PEERS = {"seasonal naive": seasonal_naive, "AutoETS": autoets, "boosting": boosting}


def frame(first, frequency, values):
    times = pd.date_range(first, periods=len(values[0]), freq=frequency)
    shown = times.strftime("%Y-%m-%dT%H:%M" if frequency == "h" else "%Y-%m-%d")
    return pd.DataFrame({"time": np.tile(shown, len(values)), "series": np.repeat([f"s{at}" for at in range(len(values))], len(shown)),
                         "value": np.concatenate(values)})


def ran(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-600:]}")
    return done.stdout


def run_baselines(program, name):
    """Each baseline's mean error, measured here."""
    first, frequency, period, horizon, values = SERIES[name]()
    with tempfile.TemporaryDirectory() as folder:
        frame(first, frequency, values).to_csv(f"{folder}/data.csv", index=False)
        ran([str(Path(program).resolve()), "data.csv", "time", "value", str(horizon), "series", "out.csv"], folder)
        said = pd.read_csv(f"{folder}/out.csv")
    errors = {}
    for (baseline, series, origin), own in said.groupby(["baseline", "series", "origin"]):
        history, actual = values[series][:origin], values[series][origin : origin + horizon]
        errors.setdefault(baseline, []).append(mase(history, actual, own.sort_values("step")["point"].to_numpy(), period))
    return {baseline: float(np.mean(own)) for baseline, own in errors.items()}


def run_kiln(command, name):
    """A model from each origin, which knows what came before alone."""
    program, *flags = command.split()
    first, frequency, period, horizon, values = SERIES[name]()
    errors = []
    for origin in origins(len(values[0]), horizon, period):
        with tempfile.TemporaryDirectory() as folder:
            frame(first, frequency, [own[:origin] for own in values]).to_csv(f"{folder}/data.csv", index=False)
            ran([str(Path(program).resolve()), "train", "data.csv", "--target", "value", "--time", "time", "--series", "series",
                 "--forecast", str(horizon), "--out", "run", "--quiet", *flags], folder)
            said = pd.read_csv(pd.io.common.StringIO(ran([str(Path(program).resolve()), "predict", "run/model.kiln", "data.csv"], folder)))
        point = "value" if "value" in said else said.select_dtypes("number").columns[0]
        for at, own in enumerate(values):
            points = said[said["series"] == f"s{at}"][point].to_numpy()
            errors.append(mase(own[:origin], own[origin : origin + horizon], points, period))
    return float(np.mean(errors))


def run_peer(peer, name):
    first, frequency, period, horizon, values = SERIES[name]()
    of = lambda own, origin: mase(own[:origin], own[origin : origin + horizon], PEERS[peer](own[:origin], period, horizon, frequency), period)
    return float(np.mean([of(own, origin) for own in values for origin in origins(len(own), horizon, period)]))


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", default=",".join(SERIES))
    words.add_argument("--peers", default=",".join(PEERS))
    words.add_argument("--baselines", help="the example `baselines`, built")
    words.add_argument("--kiln", action="append", default=[], metavar="NAME=PROGRAM FLAGS")
    words.add_argument("--cache", default=str(ROOT / "target" / "series.json"))
    said = words.parse_args()
    cache = json.loads(Path(said.cache).read_text()) if Path(said.cache).exists() else {}
    rows, seconds = {}, {}
    for name in said.only.split(","):
        row = {}
        for peer in filter(None, said.peers.split(",")):
            key = f"{peer}/{name}"
            if key not in cache:
                start = time.process_time()
                cache[key] = [run_peer(peer, name), time.process_time() - start]
                Path(said.cache).parent.mkdir(parents=True, exist_ok=True)
                Path(said.cache).write_text(json.dumps(cache))
            row[peer] = cache[key][0]
        if said.baselines:
            row |= {f"kiln's {baseline}": error for baseline, error in run_baselines(said.baselines, name).items()}
        for variant in said.kiln:
            label, command = variant.split("=", 1)
            row[label] = run_kiln(command, name)
        rows[name] = row
        print(name, row, file=sys.stderr)
    table = pd.DataFrame(rows).T
    table.loc["mean"] = table.mean()
    print("| series | " + " | ".join(table.columns) + " |\n|---" + "|---:" * len(table.columns) + "|")
    for name, row in table.iterrows():
        cells = [f"**{value:.3f}**" if value <= row.min() * 1.0001 else f"{value:.3f}" for value in row]
        print(f"| {name} | " + " | ".join(cells) + " |")


main()
