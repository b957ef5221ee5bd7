#!/usr/bin/env bash
# Whether the library and the command compile, without a warning, for systems other than this one. Nothing is run there. Other targets can be named as arguments.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
    set -- x86_64-pc-windows-gnu x86_64-pc-windows-msvc aarch64-apple-darwin aarch64-unknown-linux-gnu
fi
for target in "$@"; do
    if ! rustup target list --installed | grep -qx "$target" && ! rustup target add "$target"; then
        echo "$target isn't checked: its standard library can't be had" >&2
        exit 1
    fi
    cargo clippy --quiet --workspace --locked --target "$target" -- -D warnings
    echo "$target: compiles"
done
