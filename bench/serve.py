"""Requests a second and times of answers of `kiln serve`, and of ONNX Runtime behind FastAPI and uvicorn on the same model, in one run.

Needs built binaries (`cargo build --release` and `cargo build --release -p kiln-serve --example load`), and for the peer a Python with
fastapi, uvicorn and onnxruntime: `python3 bench/serve.py --model mnist.kiln --python /path/to/python`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

PEER = """
import numpy, onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({path!r}, options)
name = session.get_inputs()[0].name
shape = [1] + [size for size in session.get_inputs()[0].shape[1:]]
kind = numpy.uint8 if 'uint8' in session.get_inputs()[0].type else numpy.float32
app = FastAPI()
class Row(BaseModel):
    inputs: list[float]
@app.post('/predict')
async def predict(row: Row):
    said = session.run(None, {{name: numpy.array(row.inputs, kind).reshape(shape)}})
    return {{'outputs': [numpy.asarray(one).tolist() for one in said]}}
"""


def wait(port):
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server doesn't come up")


def load(arguments, port, body, seconds, connections, rate=None):
    command = [arguments.load, f"127.0.0.1:{port}", "/predict", "application/json", body, str(connections), str(seconds)]
    said = subprocess.run(command + ([str(rate)] if rate else []), capture_output=True, text=True)
    if said.returncode:
        sys.exit(said.stderr)
    return json.loads(said.stdout)


def memory(process):
    """What a process holds, in kB; 0 where the system doesn't say."""
    if not os.path.exists(f"/proc/{process}/status"):
        return 0
    with open(f"/proc/{process}/status") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmRSS")), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kiln", default="target/release/kiln")
    parser.add_argument("--load", default="target/release/examples/load")
    parser.add_argument("--model", required=True, help="a model of images of 784 pixels")
    parser.add_argument("--python", help="a Python with fastapi, uvicorn and onnxruntime")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--batch-size", type=int, help="more of them are compared: 1 is no batching", nargs="*", default=[64, 1])
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp()
    body = os.path.join(folder, "row.json")
    pixels = [(at * 37) % 256 if 200 < at < 500 else 0 for at in range(784)]
    with open(body, "w") as file:
        json.dump({"inputs": pixels}, file)

    best = None
    for number, size in enumerate(arguments.batch_size):
        port = 18080 + number
        flags = ["--port", str(port), "--batch-size", str(size), "--log", "error"]
        server = subprocess.Popen([arguments.kiln, "serve", arguments.model, *flags], stdout=subprocess.DEVNULL)
        try:
            wait(port)
            load(arguments, port, body, 1, arguments.connections)
            before = memory(server.pid)
            fast = load(arguments, port, body, arguments.seconds, arguments.connections)
            half = load(arguments, port, body, arguments.seconds, arguments.connections, fast["requests_per_second"] / 2)
            after = memory(server.pid)
        finally:
            server.terminate()
            server.wait()
        print(f"kiln, batches of {size}: {json.dumps(fast)}\n  at half of that: {json.dumps(half)}\n  memory: {before} kB, then {after}", flush=True)
        if after > 1.1 * before + 8192:
            sys.exit("its memory grows")
        best = best or fast["requests_per_second"]

    if not arguments.python:
        return
    onnx = os.path.join(folder, "model.onnx")
    subprocess.run([arguments.kiln, "export", arguments.model, onnx], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(folder, "peer.py"), "w") as file:
        file.write(PEER.format(path=onnx))
    uvicorn = [arguments.python, "-m", "uvicorn", "peer:app", "--port", "18090", "--log-level", "error", "--no-access-log"]
    server = subprocess.Popen(uvicorn, cwd=folder)
    try:
        wait(18090)
        load(arguments, 18090, body, 1, arguments.connections)
        peer = load(arguments, 18090, body, arguments.seconds, arguments.connections)
    finally:
        server.terminate()
        server.wait()
    print(f"ONNX Runtime behind FastAPI: {json.dumps(peer)}\n  kiln answers {best / max(peer['requests_per_second'], 1):.1f} times as many")


main()
