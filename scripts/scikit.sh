#!/usr/bin/env bash
# Five tables of scikit-learn's, trained by the command with no flags but the target, against scikit-learn's own network: the mean
# of five seeds may be at most two points worse (for a number 5 % of R²).
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/python.sh
python_with scikit-learn
cargo build --quiet --release --locked
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
target/python/bin/python - "$folder" "$PWD/target/release/kiln" <<'PYTHON'
import csv, json, os, subprocess, sys, warnings
import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")
folder, kiln = sys.argv[1:]
loaders = {"wine": datasets.load_wine, "iris": datasets.load_iris, "digits": datasets.load_digits,
           "diabetes": datasets.load_diabetes, "cancer": datasets.load_breast_cancer}
failed = False
for name, load in loaders.items():
    data = load()
    names = [str(column).replace(",", " ") for column in data.feature_names]
    is_number = name == "diabetes"
    say = (lambda y: repr(float(y))) if is_number else (lambda y: str(data.target_names[int(y)]))
    path = os.path.join(folder, name + ".csv")
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names + ["target"])
        rows.writerows([repr(float(v)) for v in x] + [say(y)] for x, y in zip(data.data, data.target))
    ours, theirs = [], []
    for seed in range(1, 6):
        out = subprocess.run([kiln, "train", path, "--target", "target", "--json", "--seed", str(seed)],
                             cwd=folder, check=True, capture_output=True, text=True).stdout
        test = json.loads(out.splitlines()[-1])["test"]
        ours.append(test["r2"] if is_number else test["accuracy"])
        stratify = None if is_number else data.target
        parts = train_test_split(data.data, data.target, test_size=0.2, random_state=seed, stratify=stratify)
        model = (MLPRegressor if is_number else MLPClassifier)(max_iter=1000, random_state=seed)
        theirs.append(make_pipeline(StandardScaler(), model).fit(parts[0], parts[2]).score(parts[1], parts[3]))
    ours, theirs = np.mean(ours), np.mean(theirs)
    least = 0.95 * theirs if is_number else theirs - 0.02
    failed |= ours < least
    print(f"{name:>9}: kiln {ours:.4f}, scikit-learn {theirs:.4f}{'' if ours >= least else '  WORSE'}")
sys.exit(1 if failed else 0)
PYTHON
