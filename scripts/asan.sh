#!/bin/sh
# Runs tests under AddressSanitizer: a kernel that leaves its buffers, or a reader that leaves its mapped file, ends its test there and then.
# Works on the stable toolchain. Arguments go to the tests: `scripts/asan.sh gather`. The kernels and the map; with KILN_ASAN=all in the environment
# all of the CPU's tests and the readers of files, also as whole programs run them, with damaged files too.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_BUILD_TARGET:-x86_64-unknown-linux-gnu}
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address"
# Leaks at exit are the thread pool's, which lives as long as the process; what is too large to be had is refused, as elsewhere.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1}"
export KILN_ASAN=${KILN_ASAN:-kernels}
case $KILN_ASAN in
    all)
        tests="-p kiln-cpu -p kiln-map -p kiln-data -p kiln-onnx -p kiln-learn -p kiln --lib --test kernels --test refusals --test hoisting --test allocations --test table
            --test hostile --test weights --test onnx --test faults"
        ;;
    *) tests="-p kiln-cpu -p kiln-map --lib --test kernels --test refusals" ;;
esac
# shellcheck disable=SC2086 # Words of a list.
exec cargo test $tests --target "$target" \
    --target-dir "${CARGO_TARGET_DIR:-target}/asan" -- "$@"
