#!/usr/bin/env bash
# Builds the command as it is given to others: target/dist/kiln without line tables, and these in kiln.debug beside it, where
# debuggers, perf and the backtrace of a panic find them. Needs objcopy.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --profile dist --locked
binary=${CARGO_TARGET_DIR:-target}/dist/kiln
objcopy --only-keep-debug "$binary" "$binary.debug"
objcopy --strip-all "$binary"
objcopy --add-gnu-debuglink="$binary.debug" "$binary"

size=$(stat --format %s "$binary")
most=$((25 << 20))
echo "$binary: $size bytes, symbols $(stat --format %s "$binary.debug")"
if ((size > most)); then
    echo "larger than the $most bytes that it may have" >&2
    exit 1
fi
