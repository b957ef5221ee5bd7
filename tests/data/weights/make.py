"""Small files of weights made by PyTorch and NumPy, and what kiln must find in them.

    python3 tests/data/weights/make.py         # rewrites the files beside this script

`*.json` are in kiln's own form (dtype, shape, numbers by name), with the types that kiln gives.
"""

import argparse
import collections
import json
import pathlib

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
torch.manual_seed(7)
NAMES = {torch.float32: "f32", torch.float64: "f64", torch.float16: "f16", torch.bfloat16: "bf16", torch.bool: "bool",
         torch.uint8: "u8", torch.int8: "i32", torch.int16: "i32", torch.uint16: "u16", torch.int32: "i32",
         torch.uint32: "i64", torch.int64: "i64", torch.float8_e4m3fn: "f32", torch.float8_e5m2: "f32"}


def expect(name, tensors):
    form = {}
    for path, tensor in tensors.items():
        numbers = tensor.detach()
        if tensor.dtype.is_floating_point:
            numbers = numbers.to(torch.float64)
        form[path] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data": numbers.flatten().tolist()}
    (HERE / name).write_text(json.dumps({"tensors": form}) + "\n")


# A checkpoint: a state dict among other things. `in` and `out` are an input of the layer and what PyTorch makes of it.
layer = torch.nn.Linear(3, 2)
torch.save({"model": layer.state_dict(), "epoch": 3, "rate": 0.5, "name": "a test"}, HERE / "linear.pt")
x = torch.randn(2, 3)
expect("linear.json", {**{f"model.{k}": v for k, v in layer.state_dict().items()}, "in": x, "out": layer(x)})

# Views of one storage: turned, with an offset, with steps; a scalar, nothing, a parameter.
base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
views = {"base": base, "turned": base.T, "column": base[:, 1], "steps": base[::2, 1::2], "scalar": base[1, 2],
         "empty": base[:0], "row": base[1:2].expand(1, 4), "param": torch.nn.Parameter(base[2])}
torch.save(views, HERE / "views.pt")
expect("views.json", views)

# Types that kiln has and types that become others.
types = {"f16": torch.tensor([0.5, -2.0]).half(), "bf16": torch.tensor([1.5]).bfloat16(), "bool": torch.tensor([True, False]),
         "i8": torch.tensor([-3], dtype=torch.int8), "u16": torch.tensor([65535], dtype=torch.uint16),
         "e4m3": torch.tensor([0.3, -448.0]).to(torch.float8_e4m3fn), "i64": torch.tensor([-(2**40)])}
torch.save(types, HERE / "types.pt")
expect("types.json", types)

# A checkpoint as training programs leave them: objects of all kinds beside the tensors, and one tensor that repeats another's numbers.
beside = {"hyper_parameters": argparse.Namespace(lr=0.1, sizes=torch.Size([2, 3])), "size": torch.Size([4]), "mean": numpy.float64(0.5),
          "logs": collections.defaultdict(list, steps=[1, 2]), "seen": {1, 2}}
checkpoint = {"state_dict": collections.OrderedDict(layer.state_dict(), repeated=torch.tensor([1.0, 2.0]).expand(3, 2)), **beside}
torch.save(checkpoint, HERE / "checkpoint.pt")
expect("checkpoint.json", {f"state_dict.{k}": v for k, v in checkpoint["state_dict"].items()})

# The same views as files were before PyTorch 1.6.
torch.save(views, HERE / "old.pt", _use_new_zipfile_serialization=False)

# What must not be run.
class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/kiln-was-here",)

torch.save({"weight": torch.zeros(1), "evil": Evil()}, HERE / "evil.pt")

# A packed archive; big-endian and column-major arrays in it.
numpy.savez_compressed(HERE / "packed.npz", turned=numpy.asfortranarray(base.numpy()), big=numpy.arange(3, dtype=">i4"),
                       many=numpy.zeros((40, 50), numpy.float64), words=numpy.array(["a", "bc"]))
expect("packed.json", {"turned": base, "big": torch.arange(3, dtype=torch.int32)})
