#!/usr/bin/env bash
# Files of weights beside the systems they belong to: what NumPy, safetensors and (where it is installed) PyTorch write is read by
# kiln to the same bits, and what kiln writes is read by them. PyTorch is taken from the Python in KILN_TORCH_PYTHON, if that is set.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --quiet --release --locked --example weights
if [ -n "${KILN_TORCH_PYTHON:-}" ]; then
    python=$KILN_TORCH_PYTHON
else
    source scripts/python.sh
    python_with numpy safetensors
    python=target/python/bin/python
fi
"$python" scripts/weights.py "$folder" target/release/examples/weights
