"""Reference values of recurrent operators, made with ONNX Runtime: run `python make.py > values.jsonl` beside this file.

What PyTorch's modules don't have: lengths, walks backwards alone, peepholes, clipping, the GRU's other reset. Weights are
written in kiln's order of gates (i f g o, r z n; peepholes i f o) and sequences batch first.
"""

import json

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

random = np.random.default_rng(20261121)
BATCH, TIME, INPUTS, HIDDEN = 3, 4, 2, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# Where kiln's gates stand among ONNX's: of i o f c, of z r h.
ORDER = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}


def tensor(a):
    return {"shape": list(a.shape), "data": [float("%.9g" % x) for x in a.reshape(-1)]}


def reordered(a, order):
    blocks = np.split(a, len(order))
    return np.concatenate([blocks[i] for i in order])


def case(op, lengths=None, start=False, peepholes=False, **attributes):
    n = GATES[op] * HIDDEN
    draw = lambda *shape: random.normal(0, 0.7, shape).astype(np.float32)
    x, w, r, b = draw(TIME, BATCH, INPUTS), draw(1, n, INPUTS), draw(1, n, HIDDEN), draw(1, 2 * n)
    given = {"X": x, "W": w, "R": r, "B": b}
    if lengths:
        given["sequence_lens"] = np.array(lengths, np.int32)
    if start:
        given["initial_h"] = draw(1, BATCH, HIDDEN)
        if op == "LSTM":
            given["initial_c"] = draw(1, BATCH, HIDDEN)
    if peepholes:
        given["P"] = draw(1, 3 * HIDDEN)
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h"] + (["initial_c", "P"] if op == "LSTM" else [])
    outputs = ["Y", "Y_h"] + (["Y_c"] if op == "LSTM" else [])
    node = helper.make_node(op, [k if k in given else "" for k in names], outputs, hidden_size=HIDDEN, **attributes)
    kind = lambda a: TensorProto.INT32 if a.dtype == np.int32 else TensorProto.FLOAT
    graph = helper.make_graph(
        [node], op, [helper.make_tensor_value_info(k, kind(a), a.shape) for k, a in given.items()],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    results = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given)
    order = ORDER[op]
    print(json.dumps({
        "op": op.lower(),
        "reverse": attributes.get("direction") == "reverse",
        "clip": attributes.get("clip"),
        "relu": attributes.get("activations") == ["Relu"],
        "reset_first": op == "GRU" and not attributes.get("linear_before_reset"),
        "lengths": lengths,
        "x": tensor(x.transpose(1, 0, 2)),
        "input": tensor(reordered(w[0], order)),
        "hidden": tensor(reordered(r[0], order)),
        "input_bias": tensor(reordered(b[0, :n], order)),
        "hidden_bias": tensor(reordered(b[0, n:], order)),
        "peepholes": tensor(reordered(given["P"][0], [0, 2, 1])) if peepholes else None,
        "start": [tensor(given[k][0]) for k in ("initial_h", "initial_c") if k in given],
        "all": tensor(results[0][:, 0].transpose(1, 0, 2)),
        "last": [tensor(result[0]) for result in results[1:]],
    }))


case("LSTM")
case("LSTM", lengths=[4, 2, 1], start=True)
case("LSTM", lengths=[1, 4, 3], direction="reverse")
case("LSTM", start=True, peepholes=True)
case("LSTM", lengths=[2, 4, 3], peepholes=True, clip=0.4, direction="reverse")
case("GRU")
case("GRU", linear_before_reset=1)
case("GRU", lengths=[4, 2, 1], start=True)
case("GRU", lengths=[3, 4, 2], start=True, linear_before_reset=1, direction="reverse")
case("GRU", start=True, clip=0.5, linear_before_reset=1)
case("RNN", lengths=[4, 2, 1], start=True)
case("RNN", activations=["Relu"], direction="reverse")
case("RNN", clip=0.3)
