#!/usr/bin/env bash
# Reports of three kinds of runs, opened in a real browser: each part is there, and nothing is complained of.
set -euo pipefail
cd "$(dirname "$0")/.."

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
    browser=$(command -v chromium)
fi
cargo build --quiet --release --locked
kiln=$PWD/target/release/kiln
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

awk 'BEGIN { print "a,b,word,class"; for (i = 0; i < 200; i++) print i % 17, (i * 7) % 13, (i % 3 ? "x" : "y"), (i % 17 > 8 ? "yes" : "no") }' >classes.csv
awk 'BEGIN { print "a,b,y"; for (i = 0; i < 200; i++) print i % 17, (i * 7) % 13, 3 * (i % 17) - (i * 7) % 13 + 0.5 }' | sed 's/ /,/g' >numbers.csv
sed -i 's/ /,/g' classes.csv
"$kiln" train classes.csv --target class --quiet --epochs 20 --out classes >/dev/null
"$kiln" train numbers.csv --target y --quiet --epochs 20 --out numbers >/dev/null
"$kiln" train --quiet --epochs 1 --out digits >/dev/null

for run in classes numbers digits; do
    "$browser" --headless --no-sandbox --disable-gpu --enable-logging=stderr --dump-dom "file://$folder/$run/report.html" >"$run.html" 2>"$run.log"
    parts="figures curves mistakes model config"
    case $run in
        classes) parts="$parts confusion importance" ;;
        numbers) parts="$parts importance" ;;
        digits) parts="$parts confusion" ;;
    esac
    for part in $parts; do
        grep -q "id=\"$part\"" "$run.html" || { echo "$run: the report has no $part" >&2; exit 1; }
    done
    if grep -i "CONSOLE" "$run.log" >&2; then
        echo "$run: the browser complains" >&2
        exit 1
    fi
    if grep -Eo '(href|src)="(https?:)?//[^"]*' "$run.html" >&2; then
        echo "$run: the report needs something from elsewhere" >&2
        exit 1
    fi
    echo "$run: $(grep -o '<figure>' "$run.html" | wc -l) charts and pictures, every part is there"
done
test "$(grep -c 'image/png' digits.html)" -ge 1
