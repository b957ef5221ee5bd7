#!/usr/bin/env python3
"""Writes reference.json: what statsmodels (ETSModel) and statsforecast (AutoETS) say of series that statsmodels ships and of the air passengers of
Box and Jenkins. For each form: the likelihood and forecast at given parameters and first states, and the likelihood at their own optimum. Wants
statsmodels and statsforecast."""

import json, warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import numpy as np
import statsmodels.api as sm
from statsforecast.models import AutoETS
from statsforecast.utils import AirPassengers
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

FORMS = ["ANN", "AAN", "AAdN", "MNN", "MAN", "MAdN", "ANA", "AAA", "AAdA", "MNA", "MAA", "MAdA", "MNM", "MAM", "MAdM"]
HORIZON = 24


def series():
    data = lambda name: getattr(sm.datasets, name).load_pandas().data
    co2 = data("co2")["co2"].resample("MS").mean().interpolate()
    elnino = data("elnino").iloc[:, 1:].to_numpy().ravel()
    macro = data("macrodata")
    return {
        "air passengers": (np.asarray(AirPassengers, float), 12),
        "CO2": (co2.to_numpy()[-240:].round(3), 12),
        "El Niño": (elnino[-240:], 12),
        "sunspots": (data("sunspots")["SUNACTIVITY"].to_numpy() + 1.0, 1),
        "Nile": (data("nile")["volume"].to_numpy(), 1),
        "unemployment": (macro["unemp"].to_numpy(), 4),
        "GDP": (macro["realgdp"].to_numpy(), 4),
    }


def model(y, form, period, **more):
    kind = {"A": "add", "M": "mul", "N": None}
    return ETSModel(
        y,
        error=kind[form[0]],
        trend=kind[form[1]],
        damped_trend="d" in form,
        seasonal=kind[form[-1]],
        seasonal_periods=period if form[-1] != "N" else None,
        **more,
    )


def at_parameters(y, form, period):
    """The likelihood and forecast at parameters that aren't fitted."""
    season = np.arange(period) - (period - 1) / 2
    seasonal = (0.05 * y.std() * season) if form[-1] == "A" else 1 + 0.02 * season
    known = {"initialization_method": "known", "initial_level": y[:8].mean()}
    parameters = {"smoothing_level": 0.4}
    if form[1] != "N":
        known["initial_trend"], parameters["smoothing_trend"] = 0.01 * y[:8].mean(), 0.05
    if form[-1] != "N":
        # statsmodels has the season of the first step last.
        known["initial_seasonal"], parameters["smoothing_seasonal"] = seasonal, 0.15
    if "d" in form:
        parameters["damping_trend"] = 0.92
    made = model(y, form, period, **known)
    with made.fix_params(parameters):
        fitted = made.fit(disp=False)
    return {
        "level": known["initial_level"],
        "slope": known.get("initial_trend", 0.0),
        "seasonal": list(seasonal) if form[-1] != "N" else [],
        "likelihood": fitted.llf,
        "forecast": list(np.asarray(fitted.forecast(HORIZON))),
    }


def by_the_book(y, form, period, at):
    """The likelihood and forecast of a form whose season multiplies, by the equations of Hyndman and others, table 7.8 of theirs. (statsmodels
    divides by the level behind the step.)"""
    level, slope, seasonal = at["level"], at["slope"], list(at["seasonal"])
    beta = 0.05 if form[1] != "N" else 0.0
    phi = 0.92 if "d" in form else 1.0
    squares = logs = 0.0
    for step, value in enumerate(y):
        before, season = level + phi * slope, seasonal[step]
        epsilon = value / (before * season) - 1
        squares, logs = squares + epsilon**2, logs + np.log(before * season)
        level, slope = before * (1 + 0.4 * epsilon), phi * slope + beta * before * epsilon
        seasonal.append(season * (1 + 0.15 * epsilon))
    forecast = []
    for step in range(HORIZON):
        slope *= phi
        level += slope
        forecast.append(level * seasonal[len(y) + step % period])
    return {**at, "likelihood": -len(y) / 2 * (np.log(2 * np.pi * squares / len(y)) + 1) - logs, "forecast": forecast}


def main():
    kept = []
    for name, (y, period) in series().items():
        forms = []
        for form in FORMS:
            if form[-1] != "N" and period == 1:
                continue
            fitted = model(y, form, period, initialization_method="estimated").fit(disp=False, maxiter=2000)
            theirs = AutoETS(season_length=period, model=(form[0] + form[1] + form[-1]), damped="d" in form)
            try:
                theirs = theirs.fit(y).model_["aicc"]
            except Exception:
                theirs = None
            at = at_parameters(y, form, period)
            if form[-1] == "M":
                at = by_the_book(y, form, period, at)
            # statsforecast leaves out what is the same for all forms of a series.
            same = len(y) * (np.log(2 * np.pi / len(y)) + 1)
            forms.append({"form": form, "at": at, "likelihood": fitted.llf if form[-1] != "M" else None, "aicc": theirs and theirs + same})
        auto = AutoETS(season_length=period).fit(y)
        said = auto.predict(HORIZON, level=[80])
        same = len(y) * (np.log(2 * np.pi / len(y)) + 1)
        kept.append({
            "name": name, "period": period, "values": list(y), "forms": forms,
            "auto": {
                "form": auto.model_["method"], "aicc": auto.model_["aicc"] + same, "sigma2": auto.model_["sigma2"],
                "mean": list(said["mean"]), "low": list(said["lo-80"]), "high": list(said["hi-80"]),
            },
        })
    number = lambda value: float(f"{value:.10g}")
    walk = lambda v: {k: walk(x) for k, x in v.items()} if isinstance(v, dict) else [walk(x) for x in v] if isinstance(v, list) else number(v) if isinstance(v, (float, np.floating)) else v
    Path(__file__).with_name("reference.json").write_text(json.dumps(walk(kept), separators=(",", ":"), ensure_ascii=False) + "\n")


main()
