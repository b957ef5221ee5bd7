#!/usr/bin/env bash
# ONNX held beside those who know it: what is exported passes ONNX's checker and is the same in ONNX Runtime, with and without
# preparation; ONNX's own tests of operators and its stored models pass, and small networks of the kinds they lack; the table in
# docs/onnx.md is what came out.
# `UPDATE_DOCS=1 scripts/onnx.sh` writes that table anew.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/python.sh
# Pinned: the table in docs/onnx.md names this version's tests.
python_with onnx==1.23.2 onnxruntime==1.32.0 safetensors numpy ml_dtypes pillow
cargo build --quiet --release --locked
cargo build --quiet --release --locked --example onnx_models
cargo build --quiet --release --locked -p kiln-onnx --example cases
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

target/release/examples/onnx_models "$folder/models"
target/python/bin/python scripts/onnx_models.py "$folder/models"
target/python/bin/python scripts/onnx_steps.py "$folder/models/steps"
target/python/bin/python scripts/onnx_raw.py "$folder" target/release/kiln
target/python/bin/python scripts/onnx_nets.py "$folder/nets" target/release/examples/cases
target/python/bin/python scripts/onnx_cases.py "$folder/cases" target/release/examples/cases docs/onnx.md
