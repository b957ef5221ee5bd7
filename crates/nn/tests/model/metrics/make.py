"""Metrics of random and of awkward cases, made with scikit-learn: run `python make.py > values.jsonl` beside this file."""

import json
import random
import warnings

import numpy as np
from sklearn import metrics as m

warnings.simplefilter("ignore")
rng = random.Random(3)


def figures(values):
    return {name: (None if value is None or np.isnan(value) else float(value)) for name, value in values.items()}


def classes(name, truth, predicted, count):
    labels = [c for c in range(count) if c in truth or c in predicted]
    out = {"accuracy": m.accuracy_score(truth, predicted), "balanced": m.balanced_accuracy_score(truth, predicted),
           "matthews": m.matthews_corrcoef(truth, predicted), "kappa": m.cohen_kappa_score(truth, predicted)}
    for average in ["macro", "micro", "weighted"]:
        args = {"average": average, "zero_division": 0, "labels": labels}
        out["precision " + average] = m.precision_score(truth, predicted, **args)
        out["recall " + average] = m.recall_score(truth, predicted, **args)
        out["f1 " + average] = m.f1_score(truth, predicted, **args)
        out["f2 " + average] = m.fbeta_score(truth, predicted, beta=2, **args)
    one = {"average": None, "zero_division": 0, "labels": list(range(count))}
    out["precision of 1"] = m.precision_score(truth, predicted, **one)[1]
    out["recall of 1"] = m.recall_score(truth, predicted, **one)[1]
    others = [t != 1 for t in truth], [p != 1 for p in predicted]
    out["specificity of 1"] = m.recall_score(*others, zero_division=0)
    print(json.dumps({"kind": "classes", "name": name, "count": count, "truth": truth, "predicted": predicted,
                      "matrix": m.confusion_matrix(truth, predicted, labels=list(range(count))).ravel().tolist(),
                      "figures": figures(out)}))


def binary(name, truth, scores):
    both = len(set(truth)) == 2
    out = {"roc": m.roc_auc_score(truth, scores) if both else None,
           "pr": m.average_precision_score(truth, scores),
           "log_loss": m.log_loss(truth, scores, labels=[0, 1]), "brier": m.brier_score_loss(truth, scores)}
    print(json.dumps({"kind": "binary", "name": name, "truth": truth, "scores": scores, "figures": figures(out)}))


def several(name, truth, p, count):
    out = {"roc macro": m.roc_auc_score(truth, p, multi_class="ovr", average="macro"),
           "roc weighted": m.roc_auc_score(truth, p, multi_class="ovr", average="weighted"),
           "log_loss": m.log_loss(truth, p, labels=list(range(count)))}
    for k in (1, 2):
        out["top %d" % k] = m.top_k_accuracy_score(truth, p, k=k, labels=list(range(count)))
    print(json.dumps({"kind": "several", "name": name, "count": count, "truth": truth, "p": np.ravel(p).tolist(),
                      "figures": figures(out)}))


def numbers(name, truth, predicted):
    out = {"mse": m.mean_squared_error(truth, predicted), "rmse": m.root_mean_squared_error(truth, predicted),
           "mae": m.mean_absolute_error(truth, predicted), "mape": m.mean_absolute_percentage_error(truth, predicted),
           "r2": m.r2_score(truth, predicted), "explained": m.explained_variance_score(truth, predicted),
           "pearson": np.corrcoef(truth, predicted)[0, 1]}
    print(json.dumps({"kind": "numbers", "name": name, "truth": truth, "predicted": predicted, "figures": figures(out)}))


for count, n in [(2, 40), (3, 50), (5, 200)]:
    truth = [rng.randrange(count) for _ in range(n)]
    predicted = [t if rng.random() < 0.6 else rng.randrange(count) for t in truth]
    classes("random %d" % count, truth, predicted, count)
classes("perfect", [0, 1, 2, 1], [0, 1, 2, 1], 3)
classes("all wrong", [0, 1, 2, 1], [1, 2, 0, 0], 3)
classes("a class that never occurs", [0, 1, 0, 1, 3], [0, 1, 1, 1, 3], 4)
classes("a class that is never predicted", [0, 1, 2, 2], [0, 1, 1, 0], 3)
classes("a class that is only predicted", [0, 1, 0, 1], [0, 2, 2, 1], 3)
classes("always the same prediction", [0, 1, 2, 1], [1, 1, 1, 1], 3)
for n in (30, 100):
    truth = [int(rng.random() < 0.4) for _ in range(n)]
    binary("random %d" % n, truth, [min(max(0.5 * t + rng.random() * 0.6 - 0.05, 0.01), 0.99) for t in truth])
truth = [int(rng.random() < 0.5) for _ in range(60)]
binary("ties", truth, [round(0.4 * t + rng.random() * 0.6, 1) * 0.9 + 0.05 for t in truth])
binary("all the same score", [0, 1, 1, 0, 1], [0.5] * 5)
binary("perfect", [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
binary("wrong way round", [1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9])
binary("only negative", [0, 0, 0], [0.1, 0.7, 0.4])
binary("only positive", [1, 1, 1], [0.1, 0.7, 0.4])
for count in (3, 4):
    truth = [i % count if i < count else rng.randrange(count) for i in range(60)]
    p = []
    for t in truth:
        row = np.array([rng.random() + (0.7 if c == t else 0) for c in range(count)])
        p.append((row / row.sum()).tolist())
    several("random %d" % count, truth, p, count)
numbers("random", [rng.gauss(3, 2) for _ in range(50)], [rng.gauss(3, 2) for _ in range(50)])
near = [rng.gauss(1e6, 1) for _ in range(50)]
numbers("a large mean", near, [x + rng.gauss(0.2, 0.5) for x in near])
numbers("perfect", [1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
numbers("nothing varies", [2.0, 2.0, 2.0], [2.0, 2.5, 1.0])
numbers("nothing varies, all right", [2.0, 2.0, 2.0], [2.0, 2.0, 2.0])
