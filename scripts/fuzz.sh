#!/usr/bin/env bash
# Fuzzes every reader of kiln's for some seconds (15 unless told otherwise; `scripts/fuzz.sh 600 table model` for some of them; `check` only sees whether they compile), three times as
# long where most was found so far, guided by which code ran, always from the same seed. What is found is printed with the input that shows it. Works on the stable toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-15}
shift || true

if ! command -v c++ >/dev/null; then
    echo "libFuzzer needs a C++ compiler, and there is no c++; trying to install g++"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq g++ >/dev/null
fi
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
if [ "$seconds" = check ]; then
    (cd fuzz && env -u RUSTFLAGS cargo check --quiet --locked --target-dir "$target-check")
    exit
fi
# In its folder, so that fuzz/.cargo/config.toml is found; flags from outside would take the place of those.
(cd fuzz && env -u RUSTFLAGS cargo build --quiet --release --locked --target-dir "$target")
export programs=$target/x86_64-unknown-linux-gnu/release seconds
export KILN_THREADS=1 RUST_BACKTRACE=0

# Files that readers take by path stay in memory where that is possible.
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

fuzz() {
    local name=$1 folder=$TMPDIR/$1 code=0 seconds=$seconds
    case $name in
        container | network | packed | table) seconds=$((3 * seconds)) ;;
    esac
    mkdir -p "$folder/inputs" "$folder/found"
    "$programs/$name" "$folder/inputs" -seed=1 -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$folder/found/" >"$folder/log" 2>&1 || code=$?
    local runs coverage found
    runs=$(awk '/stat::number_of_executed_units/ { print $2 }' "$folder/log")
    coverage=$(grep -Eo 'cov: [0-9]+' "$folder/log" | tail -n 1)
    found=$(find "$folder/found" -type f | wc -l)
    echo "$name: ${runs:-?} executions, $coverage, $found findings"
    [ "$code" = 0 ] && [ "$found" = 0 ] && return
    # A stack that overflows ends the program before it can write its input; the same seed comes there again.
    echo "$name ended with $code:"
    grep -A 3 -E 'panicked at|memory allocation of|ERROR: libFuzzer' "$folder/log" | head -n 12
    for input in "$folder"/found/*; do
        [ -e "$input" ] || continue
        echo "the input, to be given to $programs/$name after \`base64 -d\`:"
        base64 "$input" | head -n 400
    done
    return 1
}
export -f fuzz

if [ $# = 0 ]; then
    set -- $(cd fuzz/src/bin && basename -s .rs ./*.rs)
fi
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
