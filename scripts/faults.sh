#!/usr/bin/env bash
# Lets each write, rename, sync, chmod, creation of a file and of a folder of a run fail once, and checks that nothing is lost: the run says so or
# ends well, never crashes, and goes on to the model it would have been. Needs a C compiler. KILN names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."

kiln=$(realpath "${KILN:-target/release/kiln}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cc -shared -fPIC -O1 -o "$folder/faults.so" scripts/faults.c -ldl
cd "$folder"

awk 'BEGIN { print "x,y,kind"; for (row = 0; row < 120; row++) print row % 10 "," row * 7 % 13 "," (row % 10 > 4 ? "in" : "out") }' >table.csv
flags=(train table.csv --epochs 2 --early-stop 0 --quiet --checkpoint-every "2 steps" --keep 1)
"$kiln" "${flags[@]}" --out expected >/dev/null

bad() {
    echo "$1" >&2
    cat said >&2
    exit 1
}

total=0
for call in write short rename fsync mkdir fchmod create; do
    number=0
    while :; do
        number=$((number + 1))
        rm -rf run run-rescued* seen
        code=0
        FAULT=$call:$number FAULT_SEEN=$PWD/seen LD_PRELOAD=$PWD/faults.so "$kiln" "${flags[@]}" --out run >said 2>&1 || code=$?
        [ -e seen ] || break
        [ "$code" -le 1 ] && ! grep -q panicked said || bad "$call $number: ended with $code"
        [ "$code" -eq 0 ] || grep -q error: said || bad "$call $number: failed without a word"
        if [ "$code" -eq 1 ] && [ -e run/config.toml ]; then
            "$kiln" train --resume run --quiet >said 2>&1 || bad "$call $number: doesn't go on"
        elif [ "$code" -eq 1 ]; then
            "$kiln" "${flags[@]}" --out run >said 2>&1 || bad "$call $number: can't begin again"
        fi
        cmp -s run/model.kiln expected/model.kiln || bad "$call $number: another model"
        for file in config.toml environment.json result.json report.html metrics.csv metrics.jsonl checkpoints/last.state; do
            [ -s "run/$file" ] || bad "$call $number: $file is missing"
        done
        [ "$(wc -l <run/metrics.csv)" -eq 3 ] || bad "$call $number: metrics.csv has other lines"
        [ -z "$(find run -name '*.part')" ] || bad "$call $number: $(find run -name '*.part') is left"
        for rescued in run-rescued*; do
            [ ! -e "$rescued/config.toml" ] || "$kiln" train --resume "$rescued" --quiet >said 2>&1 || bad "$call $number: what was rescued doesn't go on"
        done
    done
    echo "$call: $((number - 1)) calls, each failed once"
    total=$((total + number - 1))
done
# A shim that reaches nothing would find nothing.
[ "$total" -gt 50 ] || bad "only $total calls were seen"
