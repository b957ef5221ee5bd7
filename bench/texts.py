#!/usr/bin/env python3
"""How well each preset foresees a text after so many minutes of one processor: python3 bench/texts.py --help.

Standard library only. Every run is `kiln train` with one thread, for as many whole epochs as the processor time holds (an epoch's time is
measured on the text itself), so that the schedule comes to its end. Processor time is counted, not the clock's, so that a machine
with other work to do tells the same. The table is Markdown, with the epochs and the processor seconds that a run really took.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import tempfile

PRESETS = ["gru", "lstm", "wavenet", "transformer", "llama"]
# What is chosen where no preset is named.
DEFAULT = "(chosen)"


def arguments():
    parser = argparse.ArgumentParser(description="Train each preset on a text for so many processor minutes and print a table.")
    parser.add_argument("text", type=pathlib.Path, help="a text file, such as Tiny Shakespeare")
    parser.add_argument("--kiln", default="target/release/kiln", help="the command (default: target/release/kiln)")
    parser.add_argument("--minutes", default="1,5,20", help="processor minutes, with commas between them (default: 1,5,20)")
    parser.add_argument("--presets", default=",".join([DEFAULT, *PRESETS]), help="with commas between them (default: all)")
    parser.add_argument("--out", type=pathlib.Path, help="a file to which each result is added as a line of JSON")
    return parser.parse_args()


def processor():
    """The name of the processor."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(kiln, text, flags):
    """Processor seconds of a training, and the numbers of its last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [kiln, "train", text, "--threads", "1", "--quiet", "--early-stop", "0", "--out", os.path.join(folder, "run"), *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = pathlib.Path(folder, "run", "metrics.jsonl").read_text().splitlines()
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, json.loads(lines[-1])


def chosen(kiln, text, minutes):
    """The flags of what kiln chooses where it is told the time alone."""
    command = [kiln, "train", text, "--threads", "1", "--time-limit", f"{round(60 * minutes)}s", "--print-config"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return ["--layers", json.loads(settings["layers"]), "--lr", settings["lr"]]


def main():
    args = arguments()
    minutes = [float(part) for part in args.minutes.split(",")]
    kiln, text = str(pathlib.Path(args.kiln).resolve()), str(args.text.resolve())
    characters = args.text.read_text(encoding="utf-8")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # A tenth of the text says how long an epoch of all of it takes; with every character in it, since layers are chosen for so many.
        part = os.path.join(folder, "part.txt")
        tenth = characters[: len(characters) // 10] + "".join(sorted(set(characters)))
        pathlib.Path(part).write_text(tenth, encoding="utf-8")
        for preset in args.presets.split(","):
            cells = []
            for limit in minutes:
                flags = chosen(kiln, text, limit) if preset == DEFAULT else ["--preset", preset]
                once, _ = run(kiln, part, [*flags, "--epochs", "1"])
                again, _ = run(kiln, part, [*flags, "--epochs", "4"])
                epochs = max(1, round(60 * limit / max(10 * (again - once) / 3, 1e-3)))
                seconds, numbers = run(kiln, text, [*flags, "--epochs", str(epochs)])
                result = {"preset": preset, "flags": flags, "minutes": limit, "epochs": epochs, **numbers, "processor_seconds": seconds}
                if args.out:
                    with args.out.open("a") as file:
                        file.write(json.dumps(result) + "\n")
                cells.append(f"{numbers['val_loss']:.3f} ({epochs}, {seconds:.0f} s)")
            rows.append([preset, *cells])
    print(f"{args.text.name}, validation nats a character (epochs, processor seconds), one thread of {processor()}\n")
    print("| preset | " + " | ".join(f"{limit:g} min" for limit in minutes) + " |")
    print("|---|" + "---|" * len(minutes))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
