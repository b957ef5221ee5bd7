"""Reference values of attention, made with PyTorch: run `python make.py > values.jsonl` beside this file.

Each line has the operands, what scaled_dot_product_attention gives, and the gradients of the sum of that times `g`.
"""

import json

import torch
import torch.nn.functional as F

torch.manual_seed(20261129)
torch.set_default_dtype(torch.float64)


def tensor(a):
    return {"shape": list(a.shape), "data": [float("%.12g" % x) for x in a.detach().reshape(-1).tolist()]}


def case(name, queries, keys, width, value_width=None, batch=2, heads=2, shared=None, mask=None, scale=None, causal=None, window=None,
         offset=0, places=None):
    shared = shared or heads
    q = torch.randn(batch, heads, queries, width, requires_grad=True)
    k = torch.randn(batch, shared, keys, width, requires_grad=True)
    v = torch.randn(batch, shared, keys, value_width or width, requires_grad=True)
    wanted = {"q": q, "k": k, "v": v}
    at = torch.arange(queries)[:, None] + offset + torch.tensor(places or [0] * batch)[:, None, None, None]
    key = torch.arange(keys)
    seen = torch.ones(batch, 1, queries, keys, dtype=torch.bool)
    if causal:
        seen = seen & (key <= at)
    if window is not None:
        seen = seen & (key >= at - window)
    bias, given = None, None
    if mask == "floats":
        given = torch.randn(1, heads, queries, keys, requires_grad=True)
        wanted["mask"] = given
        bias = given.masked_fill(~seen, float("-inf"))
    elif mask == "bools":
        given = torch.rand(batch, 1, 1, keys) < 0.7
        bias = seen & given
    elif causal or window is not None:
        bias = seen
    y = F.scaled_dot_product_attention(q, k, v, bias, scale=scale, enable_gqa=shared != heads)
    g = torch.randn_like(y)
    gradients = torch.autograd.grad((y * g).sum(), list(wanted.values()))
    line = {"name": name, "scale": scale, "causal": bool(causal), "window": window, "offset": offset, "places": places,
            "grouped": shared != heads, "q": tensor(q), "k": tensor(k), "v": tensor(v), "g": tensor(g), "y": tensor(y),
            "gradients": [tensor(gradient) for gradient in gradients]}
    if given is not None:
        line["mask"] = tensor(given)
        line["bools"] = mask == "bools"
    print(json.dumps(line, separators=(",", ":")))


case("plain", 4, 5, 3, 2)
case("causal", 5, 5, 3, causal=True)
case("scaled", 3, 4, 2, scale=0.3)
case("causal behind a cache", 2, 6, 3, causal=True, offset=4)
case("one query behind a cache", 1, 7, 4, causal=True, offset=6)
case("causal in a window", 6, 6, 3, causal=True, window=2)
case("a window of what was before", 5, 6, 3, window=1)
case("places of each sequence", 2, 7, 3, causal=True, places=[0, 4])
case("places and an offset in a window", 2, 7, 3, causal=True, places=[1, 3], offset=1, window=2)
case("masked by floats", 3, 5, 3, mask="floats")
case("masked by floats and causal", 5, 5, 3, mask="floats", causal=True)
case("masked by bools and causal", 4, 5, 3, mask="bools", causal=True)
case("grouped", 3, 4, 3, heads=4, shared=2)
case("grouped, causal, in a window behind a cache", 3, 6, 2, heads=4, shared=2, causal=True, offset=3, window=2)
case("several blocks of keys", 70, 140, 4, batch=1, heads=2, shared=1, causal=True, offset=66)
