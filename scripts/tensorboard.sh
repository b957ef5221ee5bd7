#!/usr/bin/env bash
# What a training writes for TensorBoard is read back by TensorBoard itself, and compared with the log of the same training.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo run --quiet --release --locked --example watched -- "$folder" >/dev/null 2>&1
source scripts/python.sh
python_with tensorboard setuptools
target/python/bin/python - "$folder" <<'PYTHON'
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder = sys.argv[1]
events = EventAccumulator(folder + "/events")
events.Reload()
lines = [json.loads(line) for line in open(folder + "/log.jsonl")]
checked = 0
for tag in events.Tags()["scalars"]:
    if tag.startswith("step/"):
        assert len(events.Scalars(tag)) == lines[-1]["step"] // 50, tag
        continue
    scalars = events.Scalars(tag)
    assert [scalar.step for scalar in scalars] == [line["step"] for line in lines], tag
    for scalar, line in zip(scalars, lines):
        assert abs(scalar.value - line[tag]) <= 1e-6 * abs(line[tag]) + 1e-9, (tag, scalar, line)
        checked += 1
assert checked == 7 * len(lines), checked
print(f"TensorBoard reads {checked} numbers of {len(lines)} epochs as the log has them")
PYTHON
