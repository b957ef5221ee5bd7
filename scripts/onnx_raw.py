"""Models with their preparation: ONNX Runtime gets raw columns and pixels and must say what `kiln predict` says.

python onnx_raw.py FOLDER KILN
"""

import csv
import datetime
import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

folder, kiln = pathlib.Path(sys.argv[1]), str(pathlib.Path(sys.argv[2]).resolve())
random = np.random.default_rng(7)
onnxruntime.set_default_logger_severity(3)


def run(*arguments):
    return subprocess.run([kiln, *map(str, arguments)], check=True, capture_output=True, text=True, cwd=folder).stdout


def session(path):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def near(name, far, most):
    print(f"{name}: the largest difference is {far:.1e}")
    if not far <= most:
        sys.exit(f"{name}: more than {most}")


EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MOMENT = "%d.%m.%Y %H:%M"


def seconds(cell):
    """A date as the graph takes it: seconds since 1970 in UTC."""
    if cell == "":
        return np.nan
    form = MOMENT if "." in cell else "%Y-%m-%d"
    return (datetime.datetime.strptime(cell, form).replace(tzinfo=datetime.timezone.utc) - EPOCH).total_seconds()


def table(rows, seed):
    draw = np.random.default_rng(seed)
    lines = [["length", "width", "colour", "rings", "weight", "kept", "kind", "price", "born", "seen"]]
    for _ in range(rows):
        kind = draw.integers(3)
        length = 4 + 2 * kind + draw.random()
        width = "" if draw.random() < 0.1 else f"{1 + kind - draw.random():.3f}"
        colour = "" if draw.random() < 0.1 else ["red", "blue", "white, warm", "rare"][min(kind + (draw.random() < 0.2), 3)]
        rings = int(draw.integers(1, 5))
        weight = f"{10 ** draw.uniform(-2, 4):.4g}"
        kept = ["yes", "no"][int(draw.random() < 0.5)]
        price = 1000 * kind + 50 * rings + draw.normal()
        # From 1904 to 2067, leap days among them; and moments as they are written in much of Europe.
        days, minutes = int(draw.integers(-24_000, 35_500)), int(draw.integers(0, 60_000_000))
        born = "" if draw.random() < 0.1 else f"{EPOCH + datetime.timedelta(days=days):%Y-%m-%d}"
        if draw.random() < 0.1:
            born = f"{int(draw.choice([1912, 1972, 2000, 2024]))}-02-29"
        seen = "" if draw.random() < 0.1 else f"{EPOCH + datetime.timedelta(minutes=minutes):{MOMENT}}"
        price += 0.0 if born == "" else 5 * int(born[5:7])
        lines.append([f"{length:.3f}", width, colour, rings, weight, kept, f"k{kind}", f"{price:.3f}", born, seen])
    return lines


def write(path, lines):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(lines)


def as_columns(lines, model):
    header, rows = lines[0], lines[1:]
    columns = {}
    for port in model.get_inputs():
        cells = [row[header.index(port.name)] for row in rows]
        if port.type == "tensor(string)":
            columns[port.name] = np.array(cells, dtype=object).reshape(-1, 1)
        elif port.type == "tensor(double)":
            columns[port.name] = np.array([seconds(cell) for cell in cells]).reshape(-1, 1)
        else:
            numbers = [np.nan if cell == "" else float(cell) for cell in cells]
            columns[port.name] = np.array(numbers, np.float32).reshape(-1, 1)
    return columns


train, fresh = table(400, 1), table(60, 2)
fresh[3][2] = "never seen"
write(folder / "train.csv", train)
ways = {
    "classes": ["--target", "kind", "--ignore", "price", "--columns", "weight: log, rings: words, length: robust"],
    "embedded": ["--target", "kind", "--ignore", "price", "--embed", "colour,rings"],
    "number": ["--target", "price", "--columns", "width: min-max, weight: log"],
    "dates": ["--target", "price", "--columns", "born: calendar, seen: cycles"],
    "cycles": ["--target", "price", "--columns", "born: cycles, seen: calendar"],
    "several": ["--target", "price,length", "--ignore", "kind"],
    "interval": ["--target", "length", "--ignore", "kind", "--interval", "0.8"],
    "log": ["--target", "weight", "--target-scale", "log"],
    "log interval": ["--target", "weight,length", "--target-scale", "log,as-is", "--interval", "0.9"],
    "linear": ["--target", "price", "--preset", "linear"],
    "count": ["--target", "rings", "--task", "count"],
    "count and number": ["--target", "rings,price", "--task", "count,number"],
}
for name, flags in ways.items():
    epochs = [] if "linear" in flags else ["--epochs", 3]
    run("train", "train.csv", *flags, *epochs, "--quiet", "--out", name)
    run("export", f"{name}/model.kiln", f"{name}.onnx")
    model = session(folder / f"{name}.onnx")
    write(folder / "fresh.csv", fresh)
    said = list(csv.DictReader(io.StringIO(run("predict", f"{name}/model.kiln", "fresh.csv"))))
    answers = model.run(None, as_columns(fresh, model))
    if flags[1] != "kind":
        targets = flags[1].split(",")
        columns = {"prediction": [f"predicted {target}" for target in targets]}
        if "--interval" in flags:
            columns |= {bound: [f"{target}.{bound}" for target in targets] for bound in ["low", "high"]}
        assert [port.name for port in model.get_outputs()] == list(columns), name
        for answer, wanted in zip(answers, columns.values()):
            own = np.array([[float(row[column]) for column in wanted] for row in said])
            near(name, float(np.max(np.abs(answer - own) / np.maximum(np.abs(own), 1))), 1e-4)
        continue
    labels, probabilities = answers
    assert [row["prediction"] for row in said] == list(labels), name
    own = np.array([[float(row[f"p(k{kind})"]) for kind in range(3)] for row in said])
    near(name, float(np.max(np.abs(probabilities - own))), 2e-4)

run("train", "--epochs", 1, "--quiet", "--out", "digits")
run("export", "digits/model.kiln", "digits.onnx", "--fold")
model = session(folder / "digits.onnx")
pixels = random.integers(0, 256, (8, 1, 28, 28), np.uint8)
labels, probabilities = model.run(None, {"pixels": pixels})
for row, image in enumerate(pixels):
    (folder / f"{row}.raw").write_bytes(image.tobytes())
    own = json.loads(run("predict", "digits/model.kiln", f"{row}.raw", "--json"))
    assert own["prediction"] == labels[row], (own, labels[row])
    far = max(abs(own["probabilities"][str(digit)] - probabilities[row][digit]) for digit in range(10))
    assert far < 1e-4, far
print("digits: the same labels and probabilities from raw pixels")
