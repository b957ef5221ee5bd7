"""What the Python peers share: arguments, timing, MNIST from IDX files, and the line they print."""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--data", type=pathlib.Path)
    return parser.parse_args()


def mnist(folder):
    images = np.fromfile(folder / "train-images-idx3-ubyte", dtype=np.uint8, offset=16).reshape(-1, 784)
    labels = np.fromfile(folder / "train-labels-idx1-ubyte", dtype=np.uint8, offset=8)
    return images, labels


def samples(call, seconds):
    """Seconds a call, over `seconds` after a warm-up. Short calls are timed in runs of at least 2 ms."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    warm = time.perf_counter() + min(seconds / 4, 0.5)
    while time.perf_counter() < warm:
        start = time.perf_counter()
        call()
        once = min(once, time.perf_counter() - start)
    inner = max(1, int(0.002 / max(once, 1e-9)))
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < 2 or (time.perf_counter() < end and len(taken) < 1000):
        start = time.perf_counter()
        for _ in range(inner):
            call()
        taken.append((time.perf_counter() - start) / inner)
    return taken


def report(workload, peer, taken, **extra):
    taken = [float(f"{s:.4g}") for s in taken]
    print(json.dumps({"workload": workload, "peer": peer, "metric": "seconds", "samples": taken, "extra": extra}), flush=True)
