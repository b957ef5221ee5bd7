#!/usr/bin/env bash
# What takes too long for every change, or needs more than cargo: to be run each night. Each stage stands by itself. Fuzzing takes most of the time, three to four hours
# on two cores; `scripts/nightly.sh 120` gives each fuzzer two minutes instead of twenty.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=never
export RUST_BACKTRACE=0

stage() {
    local began=$SECONDS
    printf '\n== %s\n' "$1"
    shift
    "$@"
    printf -- '-- %d s\n' $((SECONDS - began))
}

# Under which licences dependencies come, from where, and how often.
dependencies() {
    local tools=$PWD/target/tools
    PATH=$tools/bin:$PATH
    command -v cargo-deny >/dev/null || cargo install cargo-deny --version '^0.20' --locked --quiet --root "$tools"
    cargo deny --locked check licenses bans sources
}

# Made digits of 784 pixels, asked for as fast as they are answered and at half of that; the memory stays where it is.
served() {
    local folder
    folder=$(mktemp -d)
    cargo build --release --locked -p kiln -p kiln-serve --bin kiln --example load
    target/release/kiln train --layers "flatten, dense 256, relu, dense 128, relu, dense 10" --epochs 1 --quiet --out "$folder/run"
    python3 bench/serve.py --model "$folder/run/model.kiln" --seconds 300 --batch-size 64
    rm -r "$folder"
}

stage "licences and sources of dependencies" dependencies
stage "the pages as a book" scripts/book.sh
stage "other systems' targets" scripts/targets.sh
stage "the same bits on Arm" scripts/arm.sh
stage "instructions of kernels and steps" scripts/instructions.sh
stage "release build" cargo build --release --locked
stage "tables beside scikit-learn" scripts/scikit.sh
stage "what sets and intervals hold" scripts/trust.sh
stage "each write of a run fails once" scripts/faults.sh
stage "a run is killed two hundred times" env KILN_KILLS=200 cargo test --release --locked --test command killed_at_any_moment
stage "ten minutes of requests" served
stage "fuzzing every reader, long" scripts/fuzz.sh "${1:-1200}"
stage "two thousand layers" cargo test --release --locked --test deep -- --ignored
stage "a small GPT learns in 3,000 steps" cargo test --release --locked --test learnt -- --ignored
stage "damaged files, many" env KILN_FUZZ=20000 cargo test --locked --test hostile
stage "all kernels and readers of files under the address sanitizer" env KILN_ASAN=all KILN_FUZZ=1000 scripts/asan.sh
