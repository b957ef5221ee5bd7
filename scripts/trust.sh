#!/usr/bin/env bash
# What sets of classes and intervals hold on twenty tables, and the same in ONNX Runtime: scripts/trust.py.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/python.sh
python_with scikit-learn scipy onnxruntime
cargo build --quiet --release --locked
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
target/python/bin/python scripts/trust.py "$folder" "$PWD/target/release/kiln"
