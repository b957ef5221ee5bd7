#!/usr/bin/env bash
# The same bits on Arm: the op table, random graphs, layers and trainings run here and, compiled for NEON, under an emulator; each prints a hash of
# its results, and the two lists must be the same text. Installs with apt what is missing of `gcc-aarch64-linux-gnu`, `libc6-dev-arm64-cross`,
# `qemu-user-static`; where the toolchain has no standard library for Arm also Debian's `rustc-web`, `cargo-web` and `rust-web-src`, which build it.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
out=$PWD/target/arm
tests=(kiln-cpu kiln-nn)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

ready() {
    command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64-static && [ -d /usr/aarch64-linux-gnu/include ] || return 1
    own_std || [ -d /usr/lib/rustlib/src/rust/library ]
} >/dev/null

own_std() {
    rustup target list --installed 2>/dev/null | grep -qx "$target"
}

install() {
    local packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
    own_std || packages+=(rustc-web cargo-web rust-web-src)
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
}

# The tests' programs for Arm.
build() {
    local cargo=(cargo test) package
    if ! own_std; then
        cargo=(env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo test -Zbuild-std)
    fi
    for package in "${tests[@]}"; do
        "${cargo[@]}" --locked --quiet --target "$target" --target-dir "$out" -p "$package" --test bits --no-run --message-format json |
            sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' >"$out/$package.path"
    done
}

hashes() {
    grep -o 'bits [^ ]* [0-9a-f]*$' | sort
}

mkdir -p "$out"
ready || install
build
for package in "${tests[@]}"; do
    KILN_PRINT_BITS=1 cargo test --locked --quiet -p "$package" --test bits -- hashes --exact --nocapture | hashes >"$out/$package.here"
    # The machine's libraries under /usr are for another processor.
    KILN_PRINT_BITS=1 qemu-aarch64-static -L /usr/aarch64-linux-gnu "$(cat "$out/$package.path")" hashes --exact --nocapture |
        hashes >"$out/$package.arm"
    count=$(wc -l <"$out/$package.here")
    if [ "$count" = 0 ] || ! diff "$out/$package.here" "$out/$package.arm" >"$out/$package.diff"; then
        echo "$package: $(grep -c '^>' "$out/$package.diff") of $count cases have other bits on Arm:" >&2
        sed -n 's/^> bits //p' "$out/$package.diff" >&2
        exit 1
    fi
    echo "$package: $count cases have the same bits on Arm"
done
