#!/usr/bin/env bash
# The page of `kiln serve` in a real browser: a table, digits and a text are trained and served, and each page is asked as a person would, by the
# browser's own protocol. With SCREENSHOTS=FOLDER its pictures stay there, light and dark, on a desk and on a phone.
set -euo pipefail
cd "$(dirname "$0")/.."

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
    browser=$(command -v chromium)
fi
if [ -z "${KILN:-}" ]; then
    cargo build --quiet --release --locked
    KILN=$PWD/target/release/kiln
fi
script=$PWD/scripts/serve.py
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

awk 'BEGIN { print "age,weight,kind,since,ill"; for (i = 0; i < 300; i++) printf "%d,%.1f,%s,2020-%02d-05,%s\n", 20 + i % 60, 50 + (i * 7) % 45, (i % 3 ? "cat" : "dog"), i % 12 + 1, (i % 60 > 30 ? "yes" : "no") }' >table.csv
awk 'BEGIN { for (i = 0; i < 300; i++) print "the cat sat on the mat, and the dog sat on the log." }' >cats.txt
"$KILN" train table.csv --target ill --quick --quiet --epochs 20 --out models/table >/dev/null
"$KILN" train --quiet --epochs 2 --out models/digits >/dev/null
"$KILN" train cats.txt --quiet --epochs 1 --out models/cats >/dev/null
"$KILN" serve models --port 0 --log error >address &
server=$!
for _ in $(seq 100); do
    grep -q http:// address && break
    sleep 0.1
done
python3 "$script" "$browser" "$(sed 's/.* at //' address)" "${SCREENSHOTS:-}"
kill -TERM "$server"
wait "$server"
server=
