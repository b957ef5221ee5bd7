#!/usr/bin/env bash
# The pages as a book, in book/. Every link of it leads to a file, and every one within it to a place in its page.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
PATH=$tools/bin:$PATH
command -v mdbook >/dev/null || cargo install mdbook --version '^0.5' --locked --quiet --root "$tools"
mdbook build
python3 - <<'END'
import html.parser, pathlib, sys, urllib.parse

class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]

pages = {path.resolve(): Page(path) for path in pathlib.Path("book").glob("*.html") if path.name not in ("404.html", "toc.html")}
faults, count = [], 0
for path, page in pages.items():
    for link in page.links:
        to = urllib.parse.urlsplit(link)
        if to.scheme:
            continue
        count += 1
        target = (path.parent / urllib.parse.unquote(to.path)).resolve() if to.path else path
        there = pages[target].places if target in pages else None
        if not target.exists() or (to.fragment and there is not None and to.fragment not in there):
            faults.append(f"{path.name}: {link} leads nowhere")
print(f"{len(pages)} pages, {count} links")
sys.exit("\n".join(faults) if faults or not count else 0)
END
