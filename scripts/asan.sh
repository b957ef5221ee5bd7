#!/bin/sh
# Runs tests under AddressSanitizer, of the device and of the readers of mapped files: a kernel that leaves its buffers, or a reader that leaves
# its file, ends its test there and then. Works on the stable toolchain. Arguments go to the tests: `scripts/asan.sh gather`. With
# KILN_ASAN=files in the environment it runs what is read from files as whole programs do, damaged ones too.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_BUILD_TARGET:-x86_64-unknown-linux-gnu}
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address"
# Leaks at exit are the thread pool's, which lives as long as the process.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
case ${KILN_ASAN:-} in
    files) tests="-p kiln --test hostile --test weights --test onnx --test faults" ;;
    *) tests="-p kiln-cpu -p kiln-map -p kiln-data -p kiln-onnx --lib --tests" ;;
esac
# shellcheck disable=SC2086 # Words of a list.
exec cargo test $tests --target "$target" \
    --target-dir "${CARGO_TARGET_DIR:-target}/asan" -- "$@"
