"""Values of scikit-learn that linear models are held to: python3 reference.py > reference.json"""

import json
import warnings

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, QuantileRegressor, Ridge
from sklearn.metrics import log_loss, mean_squared_error

warnings.filterwarnings("ignore")
rng = np.random.default_rng(7)
rows, width, folds = 90, 5, 3
x = np.float32(np.round(rng.normal(size=(rows, width)) * [1, 2, 0.5, 1, 1] + [0, 1, 0, -2, 0], 3)).astype(float)
fold = np.arange(rows) % folds
score = x @ [1.0, -0.5, 2.0, 0.0, 0.0]
number = np.float32(np.round(score + rng.normal(size=rows), 3)).astype(float)
two = (score + rng.normal(size=rows) > 0).astype(int)
classes = np.digitize(score + rng.normal(size=rows), [-1, 1])
count = rng.poisson(np.exp(0.3 * score))
weight = np.where(rng.random(rows) < 0.3, 3.0, 1.0)


def held(make, y, loss):
    """The mean loss of a row that was held out."""
    total = 0.0
    for own in range(folds):
        model = make().fit(x[fold != own], y[fold != own])
        total += loss(model, x[fold == own], y[fold == own]) * (fold == own).sum()
    return total / rows


def squares(model, x, y):
    return mean_squared_error(y, model.predict(x))


def classified(model, x, y):
    return log_loss(y, model.predict_proba(x), labels=model.classes_)


def signed(alpha):
    """Ridge whose first weight may not be above 0 and whose second not below."""
    xc, yc = x - x.mean(0), number - number.mean()
    f = lambda w: 0.5 * ((yc - xc @ w) ** 2).sum() + 0.5 * alpha * (w**2).sum()
    g = lambda w: xc.T @ (xc @ w - yc) + alpha * w
    bounds = [(None, 0), (0, None)] + [(None, None)] * 3
    return minimize(f, np.zeros(width), jac=g, bounds=bounds, tol=1e-14, options={"ftol": 1e-15, "gtol": 1e-10}).x


def logit_signed(alpha):
    def f(w):
        z = x @ w[:-1] + w[-1]
        p = 1 / (1 + np.exp(-z))
        loss = (np.logaddexp(0, z) - two * z).sum() + 0.5 * alpha * (w[:-1] ** 2).sum()
        return loss, np.append(x.T @ (p - two) + alpha * w[:-1], (p - two).sum())

    bounds = [(None, 0), (0, None)] + [(None, None)] * 4
    return minimize(f, np.zeros(width + 1), jac=True, bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10}).x


ridge = lambda: Ridge(alpha=2.0)
lasso = lambda: Lasso(alpha=0.1, tol=1e-10)
logistic = lambda: LogisticRegression(C=0.5, tol=1e-10, max_iter=10000)
of = lambda model: {"weights": np.atleast_2d(model.coef_).tolist(), "biases": np.atleast_1d(model.intercept_).tolist()}
balanced = LogisticRegression(C=0.5, tol=1e-10, max_iter=10000, class_weight="balanced")
poisson = PoissonRegressor(alpha=2.0 / rows, tol=1e-10, max_iter=10000)
quantile = QuantileRegressor(quantile=0.9, alpha=0.0)
print(json.dumps({
    "x": x.ravel().tolist(), "width": width, "fold": fold.tolist(), "number": number.tolist(), "two": two.tolist(),
    "classes": classes.tolist(), "count": count.tolist(), "weight": weight.tolist(),
    "ridge": {**of(ridge().fit(x, number)), "loss": held(ridge, number, squares)},
    "weighted": of(ridge().fit(x, number, sample_weight=weight)),
    "lasso": {**of(lasso().fit(x, number)), "loss": held(lasso, number, squares)},
    "signed": {"weights": [signed(2.0).tolist()]},
    "logistic": {**of(logistic().fit(x, two)), "loss": held(logistic, two, classified)},
    "balanced": of(balanced.fit(x, two)),
    "logit_signed": {"weights": [logit_signed(2.0).tolist()[:-1]], "biases": [logit_signed(2.0)[-1]]},
    "softmax": {**of(logistic().fit(x, classes)), "loss": held(logistic, classes, classified)},
    "poisson": of(poisson.fit(x, count)),
    "quantile": of(quantile.fit(x, number)),
}))
