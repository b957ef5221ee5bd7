"""Drives the page of `kiln serve` in a headless browser over its debugging protocol, with nothing but Python's own library.

python3 scripts/serve.py BROWSER ADDRESS [FOLDER of screenshots]
"""

import base64
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

browser, address = sys.argv[1:3]
pictures = sys.argv[3] if len(sys.argv) > 3 and sys.argv[3] else None


class Page:
    """A page of the browser, spoken to over a WebSocket."""

    def __init__(self, port):
        for _ in range(100):
            try:
                all_pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
                break
            except OSError:
                time.sleep(0.1)
        page = next(page for page in all_pages if page["type"] == "page")
        path = re.sub(r"^ws://[^/]*", "", page["webSocketDebuggerUrl"])
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        while self.stream.readline().strip():
            pass
        self.number = 0
        self.complaints = []
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def receive(self):
        message = b""
        while True:
            first, length = self.stream.read(2)
            length &= 127
            if length == 126:
                (length,) = struct.unpack(">H", self.stream.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.stream.read(8))
            message += self.stream.read(length)
            if first & 128:
                return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        data = json.dumps({"id": self.number, "method": method, "params": parameters}).encode()
        size = struct.pack(">BH", 128 | 126, len(data)) if len(data) > 125 else bytes([128 | len(data)])
        if len(data) > 65535:
            size = struct.pack(">BQ", 128 | 127, len(data))
        self.socket.sendall(b"\x81" + size + b"\0\0\0\0" + data)
        while True:
            said = self.receive()
            if said.get("id") == self.number:
                if "error" in said:
                    sys.exit(f"{method}: {said['error']}")
                return said["result"]
            method_said = said.get("method")
            if method_said == "Runtime.exceptionThrown":
                self.complaints.append(said["params"]["exceptionDetails"].get("exception", {}).get("description", "an exception"))
            elif method_said == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])
            elif method_said == "Network.requestWillBeSent":
                url = said["params"]["request"]["url"]
                if not url.startswith((address, "blob:", "data:", "about:")):
                    self.complaints.append(f"it asks for {url}")

    def say(self, expression):
        said = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            sys.exit(f"{expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def until(self, expression, seconds=20):
        end = time.time() + seconds
        while time.time() < end:
            value = self.say(expression)
            if value:
                return value
            time.sleep(0.05)
        print(self.say("document.body.innerText"), self.complaints, file=sys.stderr)
        sys.exit(f"it doesn't come: {expression}")

    def press(self, key, text=""):
        code = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowDown": 40, "ArrowLeft": 37}.get(key, 0)
        common = dict(key=key, code="Space" if key == " " else key, windowsVirtualKeyCode=code)
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def picture(self, name):
        if pictures:
            os.makedirs(pictures, exist_ok=True)
            data = self.call("Page.captureScreenshot", format="png")["data"]
            with open(os.path.join(pictures, f"{name}.png"), "wb") as file:
                file.write(base64.b64decode(data))

    def look(self, name):
        """Pictures of the page as it stands: on a desk and on a phone, light and dark; nothing is cut off to the side."""
        for place, width, height in [("desk", 1100, 800), ("phone", 375, 812)]:
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
            for scheme in ["light", "dark"]:
                self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                wide = self.say("document.documentElement.scrollWidth")
                if wide > width:
                    sys.exit(f"{name} on a {place} is {wide} pixels wide, of {width}")
                self.picture(f"{name}-{place}-{scheme}")
        self.call("Emulation.setDeviceMetricsOverride", width=1100, height=800, deviceScaleFactor=1, mobile=False)


def contrast(page):
    """The least contrast of letters and their ground, in both schemes."""
    least = {}
    for scheme in ["light", "dark"]:
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        least[scheme] = page.say(
            """(() => {
              const style = getComputedStyle(document.documentElement), see = (name) => {
                const hex = style.getPropertyValue(name).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
                const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ratio = (a, b) => { const [x, y] = [see(a), see(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
              return Math.min(ratio("--ink", "--ground"), ratio("--ink", "--card"), ratio("--soft", "--card"), ratio("--soft", "--ground"),
                ratio("--error", "--card"), ratio("--on-accent", "--accent"), ratio("--accent", "--ground"));
            })()"""
        )
    return least


def main():
    home = tempfile.mkdtemp()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--remote-debugging-port={port}", f"--user-data-dir={home}", "--remote-allow-origins=*"]
    process = subprocess.Popen([browser, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        page = Page(port)
        page.call("Page.navigate", url=f"{address}/#table")
        said = page.until("document.querySelector('.said') && document.querySelector('.said').textContent")
        assert said in ("yes", "no"), said
        assert page.say("document.querySelectorAll('#ask [data-name]').length") == 4
        # Another age is another answer, by the keyboard alone.
        page.say("document.querySelector('[data-name=age]').focus(); document.querySelector('[data-name=age]').select()")
        answers = set()
        for age in ["21", "45", "30", "75"]:
            page.say("document.activeElement.select()")
            page.call("Input.insertText", text=age)
            page.press("Enter", "\r")
            time.sleep(0.5)
            answers.add(page.say("document.querySelector('.said').textContent"))
        assert answers == {"yes", "no"}, answers
        assert page.say("document.querySelectorAll('#answer meter').length") == 2
        assert page.say("document.getElementById('report').hidden") is False
        page.look("table")
        least = contrast(page)
        assert all(ratio >= 4.5 for ratio in least.values()), f"letters stand out too little: {least}"

        page.call("Page.navigate", url=f"{address}/#digits")
        page.say("location.reload()")
        page.until("document.querySelector('canvas') !== null")
        time.sleep(0.3)
        box = json.loads(page.say("JSON.stringify(document.querySelector('canvas').getBoundingClientRect())"))
        at = lambda x, y: (box["left"] + x * box["width"], box["top"] + y * box["height"])
        page.mouse("mousePressed", *at(0.5, 0.15))
        for step in range(1, 15):
            page.mouse("mouseMoved", *at(0.5, 0.15 + 0.05 * step))
        page.mouse("mouseReleased", *at(0.5, 0.85))
        said = page.until("document.querySelector('.said') && document.querySelector('.said').textContent")
        print(f"a line from top to bottom is a {said}")
        assert said == "1", said
        page.look("digits")
        # By the keyboard: a stroke to the right.
        page.say("[...document.querySelectorAll('button')].find((one) => one.textContent === 'Clear').click(); document.querySelector('canvas').focus()")
        page.press(" ")
        for _ in range(6):
            page.press("ArrowRight")
        page.until("document.querySelector('.said') !== null")

        page.call("Page.navigate", url=f"{address}/#cats")
        page.say("location.reload()")
        page.until("document.querySelector('textarea') !== null && document.title.startsWith('cats')")
        page.say("document.querySelector('textarea').focus()")
        page.call("Input.insertText", text="the cat ")
        page.say("document.querySelector('#ask [type=submit]').click()")
        page.until("document.querySelectorAll('.text b').length > 3")
        page.until("/pieces/.test(document.querySelector('#answer .note').textContent)")
        page.look("cats")

        page.call("Page.navigate", url=f"{address}/models/table/report")
        page.until("document.querySelector('#figures') !== null")
        page.call("Page.navigate", url=f"{address}/api")
        page.until("document.querySelectorAll('td').length > 30")
        page.look("api")
        if page.complaints:
            sys.exit("the browser complains: " + "\n".join(page.complaints))
        print("a table, digits and texts are asked on the page; nothing comes from elsewhere; contrast at least", round(min(least.values()), 1))
    finally:
        process.terminate()
        process.wait()


main()
