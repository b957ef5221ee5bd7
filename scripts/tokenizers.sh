#!/usr/bin/env bash
# Tokenizers beside the library that writes `tokenizer.json`: files of every usual kind, trained here, must give it and kiln the same
# codes for odd texts, alone, in pairs, and back; and kiln's own pieces, written in that form, must give it kiln's codes. The count of
# texts for each kind may be told.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/python.sh
python_with tokenizers sentencepiece
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
target/python/bin/python scripts/tokenizer_cases.py "$folder" "${1:-500}"
KILN_TOKENIZERS="$folder" cargo test --quiet -p kiln-data --locked --lib -- --ignored tokenizer::tests --nocapture
cargo run --quiet --release --locked --example tokenizer_pieces -- "$folder/gpt2.cases" "$folder"
target/python/bin/python scripts/tokenizer_cases.py "$folder"
