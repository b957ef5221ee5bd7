#!/usr/bin/env python3
"""The sizes at which a table still has to work, from the file to the report: time, peak memory and what came out.

    python3 bench/sizes.py                          # all of them: some five minutes, 300 MB in a temporary folder
    python3 bench/sizes.py --only predict,million   # those whose names contain a word
    python3 bench/sizes.py --kiln target/release/kiln --out sizes.md

Each line is one call of the command, alone on the machine. Tables are made by a fixed rule and need nothing but Python."""

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def numbers(path, rows, columns, seed=1, decide=lambda score: "yes" if score > 0 else "no"):
    """`columns` standard normal numbers of three digits, and a target that follows from the first eight."""
    rng = random.Random(seed)
    weights = [rng.gauss(0, 1) for _ in range(min(8, columns))]
    # Drawn from a pool: a million rows of Python's own are a minute.
    pool = [round(rng.gauss(0, 1), 3) for _ in range(99_991)]
    texts = [str(number) for number in pool]
    with open(path, "w") as file:
        file.write(",".join(f"x{column}" for column in range(columns)) + ",target\n")
        for row in range(rows):
            start = (row * 7919) % (len(pool) - columns) if columns < len(pool) // 2 else 0
            score = sum(w * pool[start + at] for at, w in enumerate(weights))
            file.write(",".join(texts[start : start + columns]) + f",{decide(score)}\n")


def wide(path, rows, columns):
    """Rows of many columns, of which the third decides."""
    rng = random.Random(2)
    with open(path, "w") as file:
        file.write(",".join(f"c{column}" for column in range(columns)) + ",kind\n")
        for _ in range(rows):
            cells = [rng.randrange(97) for _ in range(columns)]
            file.write(",".join(map(str, cells)) + f",{'high' if cells[2] > 48 else 'low'}\n")


def classes(path, count, rows_each=4):
    """So many classes, each a place in the plane."""
    side = math.isqrt(count - 1) + 1
    with open(path, "w") as file:
        file.write("a,b,kind\n")
        for row in range(rows_each * count):
            at = row % count
            file.write(f"{at % side / side + row % 7 * 1e-5:.6f},{at // side / side:.6f},k{at}\n")


def peak(pid, found, over):
    """The most memory that a process has held, as the system tells it while it runs."""
    while not over.is_set():
        try:
            for line in open(f"/proc/{pid}/status"):
                if line.startswith("VmHWM"):
                    found.append(int(line.split()[1]) / 1024)
        except OSError:
            pass
        over.wait(0.02)


def call(arguments, folder, stdin=None):
    began = time.monotonic()
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        child = subprocess.Popen(arguments, cwd=folder, stdin=stdin, stdout=out, stderr=err)
        found, over = [0.0], threading.Event()
        watch = threading.Thread(target=peak, args=(child.pid, found, over))
        watch.start()
        code = child.wait()
        over.set()
        watch.join()
    if code != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {(folder / 'err').read_text()[-2000:]}")
    return time.monotonic() - began, max(found)


def processor():
    try:
        lines = open("/proc/cpuinfo").read().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "an unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kiln", type=Path, default=ROOT / "target/release/kiln")
    parser.add_argument("--only", default="", help="words of names, with commas between them")
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--million", type=int, default=1_000_000, help="how many rows the long tables have")
    args = parser.parse_args()
    kiln = args.kiln.resolve()
    if not kiln.exists():
        sys.exit(f"{kiln}: build it first: cargo build --release")
    wanted = [word for word in args.only.split(",") if word]
    folder = Path(tempfile.mkdtemp(prefix="kiln-sizes-"))
    lines = ["| what | seconds | peak memory | what came out |", "|---|---|---|---|"]

    def is_wanted(name):
        return not wanted or any(word in name for word in wanted)

    def row(name, seconds, memory, came):
        lines.append(f"| {name} | {seconds:.1f} | {memory:.0f} MiB | {came} |")
        print(lines[-1], flush=True)

    def train(name, file, *more):
        shutil.rmtree(folder / "r", ignore_errors=True)
        seconds, memory = call([kiln, "train", file, "--quiet", "--out", "r", *more], folder)
        result = json.loads((folder / "r/result.json").read_text())
        figure = next((f"{key} {value:.3f}" for key, value in result["test"].items() if key in ("accuracy", "r2")))
        row(name, seconds, memory, f"{figure}, {result['epochs']} epochs")

    try:
        for count in [1000, 100_000]:
            if is_wanted(name := f"{count:,} classes of 4 rows each, a linear layer, --time-limit 30s"):
                classes(folder / "classes.csv", count)
                train(name, "classes.csv", "--time-limit", "30s", "--batch-size", "256", "--preset", "linear")
        for rows, columns in [(60, 30_000), (600, 5000)]:
            if is_wanted(name := f"{rows} rows of {columns:,} columns, 5 epochs, with importances"):
                wide(folder / "wide.csv", rows, columns)
                train(name, "wide.csv", "--epochs", "5")
        long = args.million
        if is_wanted("million") or is_wanted("predict"):
            numbers(folder / "long.csv", long, 20)
        if is_wanted("million"):
            train(f"{long:,} rows of 20 columns, --time-limit 60s (million)", "long.csv", "--time-limit", "60s")
            train(f"the same with --limit bytes=100M, by way of a frame (million)", "long.csv", "--time-limit", "60s",
                  "--limit", "bytes=100M")
        if is_wanted("predict"):
            head = folder / "head.csv"
            with open(folder / "long.csv") as whole, open(head, "w") as part:
                part.writelines(line for line, _ in zip(whole, range(20_001)))
            call([kiln, "train", "head.csv", "--epochs", "2", "--quiet", "--out", "m"], folder)
            for name, more, stdin in [
                ("a file", ["long.csv"], None),
                ("the standard input", ["-"], "long.csv"),
                ("a file, as JSON", ["long.csv", "--json"], None),
            ]:
                given = open(folder / stdin, "rb") if stdin else None
                seconds, memory = call([kiln, "predict", "m/model.kiln", *more], folder, given)
                size = os.path.getsize(folder / "long.csv") / 1e6
                row(f"predict {long:,} rows of 20 columns ({size:.0f} MB) from {name}", seconds, memory,
                    f"{long / seconds:,.0f} rows a second")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = f"{processor()}, {os.cpu_count()} cores"
    print(f"\n{about}")
    if args.out:
        args.out.write_text("\n".join(lines) + f"\n\n{about}\n")


if __name__ == "__main__":
    main()
