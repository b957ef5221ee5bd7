#!/usr/bin/env bash
# Counts the instructions of kernels and steps on one thread with AVX2, and fails where one needs 5 % more than is kept in bench/instructions.txt: what gets slower
# unseen on a noisy machine. Fewer are told too, and kept with KILN_UPDATE=1. Needs valgrind, which knows no AVX-512, so that every processor counts alike.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { apt-get update -qq && apt-get install -y -qq valgrind >/dev/null; }
cargo build --release --locked --quiet --example bench_workloads
binary=${CARGO_TARGET_DIR:-target}/release/examples/bench_workloads
kept=bench/instructions.txt
workloads=(
    w1_infer1 w1_infer256 w3_infer1 w3 softmax layer_norm relu_chain_1m matmul_256
    mlp1_fwd mlp1_dx mlp1_dw conv_64x1x32x28_fwd
    conv_64x32x64x14_fwd conv_64x32x64x14_dx conv_64x32x64x14_dw
    conv_32x64x128x32s2_fwd conv_32x64x128x32s2_dx conv_32x64x128x32s2_dw
)

# Instructions of a process that makes so many calls.
count() {
    KILN_SIMD=avx2 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" --workload "$1" --threads 1 --calls "$2" 2>&1 |
        sed -n 's/.*Collected : *//p'
}

counted=$(mktemp)
trap 'rm -f "$counted"' EXIT
failed=0
for name in "${workloads[@]}"; do
    # Four calls less two: what starts up and compiles falls out.
    now=$((($(count "$name" 4) - $(count "$name" 2)) / 2))
    echo "$name $now" >>"$counted"
    before=$(sed -n "s/^$name //p" "$kept" 2>/dev/null || true)
    if [ -z "$before" ]; then
        echo "$name: $now, none kept"
        failed=1
    else
        echo "$name: $now, kept $before ($((now * 100 / before)) %)"
        [ $((now * 100)) -le $((before * 105)) ] || { failed=1; echo "$name needs more instructions than before" >&2; }
    fi
done
if [ -n "${KILN_UPDATE:-}" ]; then
    cat "$counted" >"$kept"
    exit 0
fi
exit $failed
