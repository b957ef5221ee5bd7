#!/bin/sh
# Runs the device's tests under AddressSanitizer: a kernel that leaves its buffers ends its test there and then.
# Works on the stable toolchain. Arguments go to the tests: `scripts/asan.sh gather`.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_BUILD_TARGET:-x86_64-unknown-linux-gnu}
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address"
# Leaks at exit are the thread pool's, which lives as long as the process.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
exec cargo test -p kiln-cpu --lib --tests --target "$target" \
    --target-dir "${CARGO_TARGET_DIR:-target}/asan" -- "$@"
