#!/usr/bin/env python3
"""kiln beside its peers on the same work: python3 bench/run.py --help, and README.md.

Standard library only. It prepares what is asked for (a virtual environment, cargo builds, a data set), runs every side in
turn, A B C A B C, so that a drift of the machine falls on all alike, and writes the table as Markdown and JSON.
"""

import argparse
import datetime
import gzip
import json
import math
import os
import pathlib
import platform
import random
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import venv

import workloads

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
PYTHON_PEERS = {"pytorch": ("pytorch.py", ["torch", "numpy"]), "onnxruntime": ("onnxruntime_peer.py", ["onnxruntime", "onnx", "numpy"])}
RUST_PEERS = ("candle", "burn")
PEERS = [*PYTHON_PEERS, *RUST_PEERS]


def arguments():
    parser = argparse.ArgumentParser(description="Run kiln and its peers on the same work and print the ratios.")
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS) + "; 'none' for kiln alone (default: all)")
    parser.add_argument("--workloads", default="all", help="names, or beginnings that end in '*': w1,w3*,conv_* (default: all)")
    parser.add_argument("--mnist", type=pathlib.Path, help="folder of the MNIST training files, gzipped or not (default: synthetic)")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH / "out", help="where the data set and results go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each workload, side and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-kiln", action="store_true", help="the peers alone")
    parser.add_argument("--python", help="an interpreter that has the Python peers already, instead of bench/.venv")
    parser.add_argument("--prefix", default="", help="a command to run every measurement under, such as 'nice -n -5'")
    parser.add_argument("--build-prefix", default="", help="the same for every cargo build")
    args = parser.parse_args()
    args.peers = [] if args.peers == "none" else args.peers.split(",")
    if unknown := set(args.peers) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    chosen = []
    for want in workloads.every() if args.workloads == "all" else args.workloads.split(","):
        found = [n for n in workloads.every() if n == want or want.endswith("*") and n.startswith(want[:-1])]
        if not found:
            parser.error(f"unknown workload {want}; there are {', '.join(workloads.every())}")
        chosen += [n for n in found if n not in chosen]
    args.workloads = chosen
    return args


# ---------------------------------------------------------------- what must be there first


def prepare(args):
    """side -> the command that runs one workload"""
    commands = {}
    build = shlex.split(args.build_prefix)
    if not args.no_kiln:
        subprocess.run([*build, "cargo", "build", "--release", "-p", "kiln", "--example", "bench_workloads"], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        commands["kiln"] = [str(target / "release/examples/bench_workloads")]
    for peer in args.peers:
        if peer in PYTHON_PEERS:
            script, packages = PYTHON_PEERS[peer]
            python = args.python or environment(packages)
            commands[peer] = [str(python), str(BENCH / "peers" / script)]
        else:
            home = BENCH / "peers" / peer
            environment = {k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"}
            subprocess.run([*build, "cargo", "build", "--release"], cwd=home, check=True, env=environment)
            commands[peer] = [str(home / "target/release" / f"bench-{peer}")]
    return commands


def data(args):
    """The MNIST training files, unpacked; made up where none are given."""
    folder = args.out / ("mnist" if args.mnist else "synthetic")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    if args.mnist:
        for name in names:
            source = args.mnist / name
            packed = args.mnist / f"{name}.gz"
            with gzip.open(packed) if packed.exists() else open(source, "rb") as read, open(folder / name, "wb") as write:
                shutil.copyfileobj(read, write)
    elif not all((folder / name).exists() for name in names):
        synthetic(folder, names)
    return folder


def generations(args, folder):
    """The folders of random language models of the chosen workloads, made by transformers where they aren't there yet."""
    wanted = [name for name in args.workloads if name in workloads.GENERATIONS and not (folder / name / "config.json").exists()]
    if wanted:
        python = args.python or environment(["torch", "transformers"])
        subprocess.run([python, BENCH / "generations.py", folder, *wanted], check=True)


def networks(args, folder):
    """The ONNX files of the chosen workloads, made by PyTorch where they aren't there yet."""
    wanted = {found[0] for name in args.workloads if (found := workloads.network(name))}
    if all((folder / f"{name}.onnx").exists() for name in wanted):
        return
    python = args.python or environment(["torch", "torchvision", "timm", "onnx"])
    subprocess.run([python, BENCH / "networks.py", folder, *sorted(wanted)], check=True)


def environment(packages):
    """bench/.venv with these packages: its interpreter."""
    python = BENCH / ".venv/bin/python"
    if not python.exists():
        venv.create(BENCH / ".venv", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def synthetic(folder, names):
    """60,000 blurred rings and bars, one kind a class, four in five pixels zero as in MNIST."""
    rng = random.Random(1)
    masks = []
    for label in range(10):
        angle, radius = math.pi * label / 5, 3 + label % 5
        row, column = 14 + 4 * math.sin(angle), 14 + 4 * math.cos(angle)
        near = [abs(math.hypot(y - row, x - column) - radius) < 1.6 for y in range(28) for x in range(28)]
        masks.append(int.from_bytes(bytes(255 if inside else 0 for inside in near), "big"))
    labels = bytes(rng.randrange(10) for _ in range(workloads.EXAMPLES))
    with open(folder / names[0], "wb") as images:
        images.write(struct.pack(">IIII", 2051, len(labels), 28, 28))
        for label in labels:
            images.write((masks[label] & rng.getrandbits(784 * 8)).to_bytes(784, "big"))
    (folder / names[1]).write_bytes(struct.pack(">II", 2049, len(labels)) + labels)


# ---------------------------------------------------------------- running


def run(command, workload, args, folder):
    """The lines one program prints for a workload: [] where it hasn't got it, None where it failed."""
    line = [*shlex.split(args.prefix), *command, "--workload", workload, "--threads", str(args.threads), "--seconds", str(args.seconds),
            "--data", str(folder)]
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=900 + 10 * args.seconds, env={**os.environ, **threads})
    except subprocess.TimeoutExpired:
        print(f"  {workload}: {command[-1]} ran too long", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"  {workload}: {command[-1]} failed\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [line for line in lines if line["workload"] == workload]


def measure(args, commands, folder):
    """workload -> side -> {median, min, max, samples, mode, rounds}"""
    results = {}
    for workload in args.workloads:
        taken = {}  # side -> mode -> samples
        versions, extras = {}, {}
        absent = set()
        for turn in range(args.rounds):
            for side, command in commands.items():
                if side in absent:
                    continue
                lines = run(command, workload, args, folder)
                if not lines:
                    absent.add(side)
                    continue
                for line in lines:
                    extra = line.get("extra", {})
                    mode = extra.get("mode", "plain")
                    taken.setdefault(side, {}).setdefault(mode, []).append(line["samples"])
                    extras[side, mode] = extra
        results[workload] = {side: best(found, {m: extras[side, m] for m in found}) for side, found in taken.items()}
        show = ", ".join(f"{s} {seconds(r['median'])}" for s, r in results[workload].items())
        print(f"{workload}: {show or 'nobody has it'}", flush=True)
    return results


def best(found, extras):
    """The mode with the smallest median over all rounds."""
    pooled = {mode: [s for samples in rounds for s in samples] for mode, rounds in found.items()}
    mode = min(pooled, key=lambda m: statistics.median(pooled[m]))
    samples = pooled[mode]
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "count": len(samples), "mode": mode,
            "round_medians": [statistics.median(s) for s in found[mode]], "extra": extras[mode],
            "other_modes": {m: statistics.median(s) for m, s in pooled.items() if m != mode}}


# ---------------------------------------------------------------- the table


def seconds(s):
    for unit, scale in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if s >= scale or unit == "µs":
            return f"{s / scale:.3g} {unit}" if s / scale < 1000 else f"{s / scale:.0f} {unit}"


def rate(workload, s):
    if n := workloads.bytes_moved(workload):
        return f"{n / s / 1e9:.1f} GB/s"
    if n := workloads.flop(workload):
        return f"{n / s / 1e9:.0f} GFLOP/s"
    return ""


def machine():
    info = {"system": platform.platform(), "cores": os.cpu_count(), "load_before": os.getloadavg()}
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        field = lambda key: next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(key)), "")
        info["cpu"] = field("model name")
        wanted = ("avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
        info["flags"] = [flag for flag in wanted if flag in field("flags").split()]
        memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
        info["memory_gib"] = round(int(memory) / (1 << 20), 1)
    except OSError:
        info["cpu"] = platform.processor()
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True) if shutil.which("rustc") else None
    info["rustc"] = rustc.stdout.strip() if rustc else ""
    return info


def slowest(args, command, folder):
    """Where kiln's time goes in the networks: the kernels that take most of it, as a text."""
    lines = []
    for workload in filter(workloads.network, args.workloads):
        shown = subprocess.run([*command, "--workload", workload, "--threads", str(args.threads), "--data", str(folder), "--show"],
                               capture_output=True, text=True, check=True).stdout.splitlines()
        share = lambda line: float(line.split(" % ")[0].split()[-1]) if " % " in line else 0.0
        # A line says where the kernel was written as well; that is the same everywhere here.
        kernels = [line.split("  t")[0].rstrip() for line in sorted(shown, key=share, reverse=True)[:8]]
        lines += [f"## Where the time goes: {workload}", "", "```text", *kernels, "```", ""]
    return "\n".join(lines)


def table(results, sides, about, args):
    peers = [s for s in sides if s != "kiln"]
    lines = [f"# kiln beside its peers, {about['date']}", ""]
    lines += [f"{about['cpu']}, {about['cores']} cores ({' '.join(about.get('flags', []))}), {about['system']}, {about['rustc']}; "
              f"{args.threads} threads, {args.rounds} rounds of {args.seconds:g} s; data: {'MNIST' if args.mnist else 'synthetic'}.  ",
              "Versions: " + ", ".join(f"{s} {v}" for s, v in about["versions"].items()) + ".  ",
              "Each cell: median [min … max] of all rounds, and the rate or mode. A ratio is kiln's median over the peer's: under 1, kiln is faster.", ""]
    head = ["workload", *sides] + ([f"kiln / {p}" for p in peers] if "kiln" in sides else [])
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for workload, found in results.items():
        row = [workload]
        for side in sides:
            if r := found.get(side):
                notes = [n for n in (rate(workload, r["median"]), r["mode"] if r["mode"] != "plain" else "") if n]
                row.append(f"{seconds(r['median'])} [{seconds(r['min'])} … {seconds(r['max'])}]" + (f" {', '.join(notes)}" if notes else ""))
            else:
                row.append("")
        if "kiln" in sides:
            for peer in peers:
                both = "kiln" in found and peer in found
                row.append(f"{found['kiln']['median'] / found[peer]['median']:.2f}" if both else "")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        commands = prepare(args)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"couldn't prepare: {shlex.join(map(str, failed.cmd))} ended with status {failed.returncode} (see above)")
    folder = data(args)
    networks(args, folder)
    generations(args, folder)
    about = {"date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"), **machine()}
    results = measure(args, commands, folder)
    about["load_after"] = os.getloadavg()
    about["versions"] = {s: next((r[s]["extra"].get("version", "?") for r in results.values() if s in r), "?") for s in commands}
    text = table(results, list(commands), about, args)
    if "kiln" in commands:
        text += "\n" + slowest(args, commands["kiln"], folder)
    (args.out / "results.md").write_text(text)
    (args.out / "results.json").write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
    print(f"\n{text}\nSaved in {args.out}/results.md and results.json")


main()
