#!/usr/bin/env bash
# Whole networks beside ONNX Runtime: exports what people have (torchvision, timm, transformers, scikit-learn and others, with random
# weights) as ONNX files, and holds what kiln computes beside what ONNX Runtime does. Not in the gate: it installs gigabytes and takes
# an hour. `scripts/zoo.sh FOLDER [PART OF A NAME...]`; what is in the folder already isn't made again.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?where the networks go}
shift

source scripts/python.sh
# The index of PyTorch's own has builds without GPU code, which are smaller.
python_with --extra-index-url https://download.pytorch.org/whl/cpu torch torchvision timm transformers onnxscript onnx onnxruntime \
    skl2onnx onnxmltools lightgbm xgboost pandas onnxconverter-common onnxsim onnxslim safetensors
cargo build --quiet --release --locked -p kiln-onnx --example zoo
mkdir -p "$folder"
target/python/bin/python scripts/zoo.py "$folder" "$@"
target/release/examples/zoo "$folder"/*/ | tee "$folder.txt"
echo
cut -f2 "$folder.txt" | sort | uniq -c
! cut -f2 "$folder.txt" | grep -qvx passed
