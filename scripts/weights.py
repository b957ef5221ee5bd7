"""Called by weights.sh: makes files of every type, shape and order, has kiln write each anew in every form, and compares all numbers."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

try:
    import torch
    from safetensors.torch import load_file as load_torch, save_file as save_torch
except ImportError:
    torch = None

folder, kiln = sys.argv[1:]
rng = np.random.default_rng(7)
compared = 0


def bits(array):
    array = np.ascontiguousarray(array)
    return array.shape, array.astype(array.dtype.newbyteorder("<")).tobytes()


def widened(array):
    """As kiln holds it: in the narrowest of its types."""
    wider = {"int8": "int32", "int16": "int32", "uint32": "int64", "uint64": "int64"}
    return array.astype(wider.get(array.dtype.name, array.dtype.newbyteorder("=")))


def check(source, expected):
    """kiln reads `source` and writes it in each form; each is read and compared."""
    global compared
    for form in ("npz", "safetensors", "json", "safetensors.index.json"):
        path = os.path.join(folder, "out." + form)
        subprocess.run([kiln, source, path], check=True)
        if form == "npz":
            found = dict(np.load(path))
        elif form == "safetensors":
            found = load_file(path)
        elif form == "json":
            tensors = json.load(open(path))["tensors"]
            kinds = {"bool": "bool", "u": "uint", "i": "int", "f": "float"}
            kind = lambda name: kinds.get(name) or kinds[name[0]] + name[1:]
            found = {name: np.array([float(x) if isinstance(x, str) else x for x in tensor["data"]], kind(tensor["dtype"]))
                     .reshape(tensor["shape"]) for name, tensor in tensors.items()}
        else:
            index = json.load(open(path))["weight_map"]
            found = {name: load_file(os.path.join(folder, file))[name] for name, file in index.items()}
        assert set(found) == set(expected), (source, form, set(found) ^ set(expected))
        for name, array in expected.items():
            if form == "json" and array.dtype.kind == "f":
                # Which of the many NaNs it was is not said.
                np.testing.assert_array_equal(found[name], widened(array), err_msg=f"{source} {form} {name}")
            else:
                assert bits(found[name]) == bits(widened(array)), (source, form, name)
            compared += array.size


kinds = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "i8", "f2", "f4", "f8"]
shapes = [(), (0,), (1,), (5,), (3, 4), (2, 3, 4), (2, 0, 3)]
arrays = {}
for kind, shape in itertools.product(kinds, shapes):
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    raw = np.frombuffer(rng.bytes(size), kind) if kind != "bool" else rng.integers(0, 2, int(np.prod(shape))).astype(bool)
    array = raw.reshape(shape)
    # NaNs may become other NaNs on the way through a wider float.
    arrays[f"{kind}.{'x'.join(map(str, shape)) or 'scalar'}"] = np.where(np.isnan(array), 1, array).astype(kind)
arrays["u8"] = np.array([0, 2**63 - 1], "u8")

everything = dict(arrays)
for name, array in arrays.items():
    everything["turned." + name] = np.asfortranarray(array)
    everything["swapped." + name] = array.astype(array.dtype.newbyteorder(">"))
path = lambda name: os.path.join(folder, name)
np.savez(path("in.npz"), **everything)
check(path("in.npz"), everything)
np.savez_compressed(path("packed.npz"), **everything)
check(path("packed.npz"), everything)
for name in ("turned.f4.3x4", "swapped.i2.5", "u8"):
    np.save(path("in.npy"), everything[name])
    check(path("in.npy"), {"array": everything[name]})
save_file(arrays, path("in.safetensors"), {"format": "np"})
check(path("in.safetensors"), arrays)

if torch:
    base = torch.randn(4, 6)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.LSTM(4, 5))
    tensors = {f"net.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"views.{name}": view for name, view in
                {"base": base, "turned": base.T, "part": base[1:3, ::2], "scalar": base[2, 3], "none": base[:, :0]}.items()}
    kinds = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64".split()
    tensors |= {f"kinds.{kind}": torch.arange(6).reshape(2, 3).to(getattr(torch, kind)) for kind in kinds}
    parts = {group: {name.split(".", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(group)}
             for group in ("net", "views", "kinds")}
    torch.save({**parts, "epoch": 3, "args": {"rate": 0.1, "names": ["a", None]}}, path("in.pt"))
    check(path("in.pt"), {name: tensor.numpy() for name, tensor in tensors.items()})
    # Types that NumPy hasn't, by way of float32.
    small = {kind: torch.randn(50).to(getattr(torch, kind)) for kind in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}
    torch.save(small, path("small.pt"))
    save_torch(small, path("small.safetensors"))
    for source in ("small.pt", "small.safetensors"):
        subprocess.run([kiln, path(source), path("out.safetensors")], check=True)
        for name, tensor in load_torch(path("out.safetensors")).items():
            assert torch.equal(tensor.float(), small[name].float()), (source, name)
            compared += tensor.numel()
    optimizer = torch.optim.Adam(module.parameters())
    sum(parameter.sum() for parameter in module.parameters()).backward()
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict()}, path("optimizer.pt"))
    state = {f"optimizer.state.{at}.{name}": tensor.numpy() for at, moments in optimizer.state_dict()["state"].items()
             for name, tensor in moments.items()}
    check(path("optimizer.pt"), state)

print(f"{compared} numbers are the same in kiln, NumPy, safetensors" + (" and PyTorch" if torch else "; PyTorch isn't here"))
