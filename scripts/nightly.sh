#!/usr/bin/env bash
# What takes too long for every change, or needs more than cargo: to be run each night. Each stage stands by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=never

stage() {
    local began=$SECONDS
    printf '\n== %s\n' "$1"
    shift
    "$@"
    printf -- '-- %d s\n' $((SECONDS - began))
}

stage "release build" cargo build --release --locked
stage "each write of a run fails once" scripts/faults.sh
stage "a run is killed two hundred times" env KILN_KILLS=200 cargo test --release --locked --test command killed_at_any_moment
