"""Reference values and gradients, computed by PyTorch on the CPU.

    python3 tests/reference/make.py            # rewrites the *.jsonl files beside this script

Needs `torch` only (its version is written to versions.json). Every case draws its numbers from Python's own generator
seeded with the case's name, so cases never depend on one another, on their order, or on torch's generator.
README.md says what each op and parameter means.
"""

import json
import math
import pathlib
import platform
import random

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

groups: dict[str, list] = {}
names: set[str] = set()
rng = random.Random(0)
dtype = torch.float64


# ---------------------------------------------------------------- numbers in, numbers out


def r(*shape, low=None, high=None):
    """Normal numbers (uniform with low and high) of four decimals, as a leaf that wants its gradient."""
    n = math.prod(shape)
    draw = (lambda: rng.gauss(0, 1)) if low is None else (lambda: rng.uniform(low, high))
    return t([round(draw(), 4) for _ in range(n)], *shape)


def distinct(*shape):
    """Numbers no two of which are equal, in random order: for sorts and maxima."""
    n = math.prod(shape)
    values = [round(0.25 * i - n / 8 + 0.1, 4) for i in range(n)]
    rng.shuffle(values)
    return t(values, *shape)


def t(values, *shape):
    return torch.tensor(values, dtype=dtype).reshape(shape).requires_grad_()


def const(values, *shape):
    return t(values, *shape).detach()


def index(high, *shape):
    return torch.tensor([rng.randrange(high) for _ in range(math.prod(shape))]).reshape(shape)


def number(v):
    if isinstance(v, (bool, int)):
        return int(v)
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    return v  # json writes the shortest digits that read back to the same f64, at most 17


KIND = {torch.float64: "f64", torch.float32: "f32", torch.int64: "i64", torch.bool: "bool"}


def tensor(x, name=None):
    x = x.detach()
    out = {"name": name} if name else {}
    out["shape"] = list(x.shape)
    if x.dtype != dtype:
        out["dtype"] = KIND[x.dtype]
    out["data"] = [number(v) for v in x.reshape(-1).tolist()]
    return out


# ---------------------------------------------------------------- cases


def add(group, name, line):
    assert name not in names, name
    names.add(name)
    groups.setdefault(group, []).append(line)


def case(group, name, op, params, make, fn, f32=False):
    """One line. `make()` gives the named inputs, `fn(*inputs)` the output, or (output, {name: further output})."""
    global rng, dtype
    rng = random.Random(name)
    dtype = torch.float32 if f32 else torch.float64
    inputs = make()
    out = fn(*inputs.values())
    out, extra = out if isinstance(out, tuple) else (out, {})
    line = {"name": name, "op": op, "params": params, "dtype": KIND[dtype]}
    line["inputs"] = [tensor(v, k) for k, v in inputs.items()]
    wanted = [v for v in inputs.values() if v.requires_grad]
    if out.requires_grad and wanted:
        upstream = r(*out.shape).detach()
        grads = iter(torch.autograd.grad(out, wanted, upstream, allow_unused=True))
        line["upstream"] = tensor(upstream)
        line["output"] = tensor(out)
        every = [next(grads) if v.requires_grad else None for v in inputs.values()]
        line["grads"] = [None if g is None else tensor(g) for g in every]
    else:
        line["upstream"] = None
        line["output"] = tensor(out)
        line["grads"] = [None for _ in inputs]
    if extra:
        line["extra_outputs"] = [tensor(v, k) for k, v in extra.items()]
    dtype = torch.float64
    add(group, name, line)


def conv_cases():
    def conv(name, rank, x, w, bias=True, f32=False, **kw):
        fn = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
        params = {"stride": [1] * rank, "padding": [0] * rank, "dilation": [1] * rank, "groups": 1, **kw}

        def make():
            inputs = {"x": r(*x), "weight": r(*w)}
            return {**inputs, "bias": r(w[0])} if bias else inputs

        def run(x, weight, bias=None):
            return fn(x, weight, bias, **params)

        case("conv", name, f"conv{rank}d", params, make, run, f32)

    conv("conv1d", 1, (2, 3, 9), (4, 3, 3))
    conv("conv1d_stride_padding_dilation", 1, (2, 3, 11), (4, 3, 3), stride=[2], padding=[2], dilation=[2])
    conv("conv1d_groups", 1, (2, 4, 7), (6, 2, 3), groups=2, padding=[1])
    conv("conv1d_depthwise_no_bias", 1, (2, 4, 7), (4, 1, 3), bias=False, groups=4)
    conv("conv1d_same_even_kernel", 1, (1, 2, 7), (3, 2, 4), padding="same")
    conv("conv1d_kernel_of_one", 1, (2, 3, 5), (4, 3, 1))
    conv("conv2d", 2, (2, 3, 5, 6), (4, 3, 3, 3))
    conv("conv2d_f32", 2, (2, 3, 5, 6), (4, 3, 3, 3), f32=True)
    conv("conv2d_padding", 2, (2, 2, 5, 4), (3, 2, 3, 3), padding=[1, 1])
    conv("conv2d_stride", 2, (2, 2, 7, 6), (3, 2, 3, 3), stride=[2, 2], padding=[1, 1])
    conv("conv2d_stride_leaves_a_rest", 2, (1, 2, 8, 7), (2, 2, 3, 3), stride=[3, 2])
    conv("conv2d_mixed_sizes", 2, (1, 2, 7, 9), (3, 2, 3, 2), stride=[1, 2], padding=[2, 0], dilation=[2, 1])
    conv("conv2d_dilation", 2, (1, 2, 8, 8), (2, 2, 3, 3), dilation=[2, 3], padding=[2, 3])
    conv("conv2d_groups", 2, (2, 4, 4, 5), (6, 2, 3, 3), groups=2, padding=[1, 1])
    conv("conv2d_depthwise", 2, (2, 4, 5, 5), (4, 1, 3, 3), groups=4, padding=[1, 1])
    conv("conv2d_depthwise_multiplier", 2, (1, 3, 5, 5), (6, 1, 3, 3), groups=3, stride=[2, 2])
    conv("conv2d_pointwise_stride", 2, (2, 4, 5, 5), (3, 4, 1, 1), stride=[2, 2], bias=False)
    conv("conv2d_same", 2, (1, 2, 5, 6), (2, 2, 3, 3), padding="same")
    conv("conv2d_same_even_kernel_dilated", 2, (1, 2, 6, 7), (2, 2, 2, 4), padding="same", dilation=[2, 1])
    conv("conv2d_kernel_covers_input", 2, (3, 2, 4, 4), (5, 2, 4, 4))
    conv("conv3d", 3, (1, 2, 4, 4, 5), (3, 2, 2, 3, 2))
    conv("conv3d_stride_padding", 3, (1, 2, 4, 5, 4), (2, 2, 3, 3, 3), stride=[2, 2, 1], padding=[1, 1, 1])
    conv("conv3d_groups_dilation", 3, (1, 2, 5, 4, 4), (2, 1, 2, 2, 2), groups=2, dilation=[2, 1, 2])

    def transposed(name, rank, x, w, bias=True, **kw):
        fn = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][rank - 1]
        params = {"stride": [1] * rank, "padding": [0] * rank, "output_padding": [0] * rank}
        params |= {"dilation": [1] * rank, "groups": 1, **kw}

        def make():
            inputs = {"x": r(*x), "weight": r(*w)}
            return {**inputs, "bias": r(w[1] * params["groups"])} if bias else inputs

        def run(x, weight, bias=None):
            return fn(x, weight, bias, **params)

        case("conv", name, f"conv_transpose{rank}d", params, make, run)

    transposed("conv_transpose1d", 1, (2, 3, 5), (3, 2, 3))
    transposed("conv_transpose1d_stride", 1, (1, 2, 5), (2, 3, 4), stride=[3], padding=[1], output_padding=[2])
    transposed("conv_transpose2d", 2, (2, 3, 3, 4), (3, 2, 3, 3))
    transposed("conv_transpose2d_stride_output_padding", 2, (1, 2, 3, 4), (2, 3, 3, 3), stride=[2, 2], padding=[1, 1],
               output_padding=[1, 1])
    transposed("conv_transpose2d_kernel_is_stride", 2, (1, 3, 3, 3), (3, 2, 2, 2), stride=[2, 2], bias=False)
    transposed("conv_transpose2d_groups_dilation", 2, (1, 4, 3, 3), (4, 2, 2, 3), groups=2, dilation=[2, 1], stride=[1, 2])
    transposed("conv_transpose3d", 3, (1, 2, 2, 3, 2), (2, 2, 2, 2, 3), stride=[2, 1, 2], padding=[0, 1, 1])


def pool_cases():
    def pool(name, op, x, kernel, stride=None, padding=None, dilation=None, ties=False, **kw):
        n = len(kernel)
        params = {"kernel": kernel, "stride": stride or kernel, "padding": padding or [0] * n, "ceil_mode": False, **kw}
        if op.startswith("max"):
            params["dilation"] = dilation or [1] * n
        else:
            params.setdefault("count_include_pad", True)
        args = {("kernel_size" if k == "kernel" else k): v for k, v in params.items()}
        fn = {"max1": F.max_pool1d, "max2": F.max_pool2d, "max3": F.max_pool3d,
              "avg1": F.avg_pool1d, "avg2": F.avg_pool2d, "avg3": F.avg_pool3d}[op[:3] + str(n)]
        if ties:
            make = lambda: {"x": t([float(rng.randrange(3)) for _ in range(math.prod(x))], *x)}
        else:
            make = lambda: {"x": distinct(*x) if op.startswith("max") else r(*x)}
        case("pool", name, f"{op[:3]}_pool{n}d", params, make, lambda x: fn(x, **args))

    pool("max_pool1d", "max", (2, 3, 8), [2])
    pool("max_pool1d_overlapping", "max", (2, 2, 9), [3], [2], [1])
    pool("max_pool2d", "max", (2, 3, 4, 6), [2, 2])
    pool("max_pool2d_rest_dropped", "max", (1, 2, 5, 7), [2, 2])
    pool("max_pool2d_ceil", "max", (1, 2, 5, 7), [2, 2], ceil_mode=True)
    pool("max_pool2d_ceil_padding_last_window_skipped", "max", (1, 2, 5, 5), [2, 2], [3, 3], [1, 1], ceil_mode=True)
    pool("max_pool2d_overlapping_padding", "max", (2, 2, 6, 5), [3, 3], [2, 2], [1, 1])
    pool("max_pool2d_dilation", "max", (1, 2, 7, 8), [2, 3], [1, 2], [1, 1], [3, 2])
    pool("max_pool2d_ties_go_to_the_first", "max", (1, 2, 6, 6), [3, 3], [1, 1], ties=True)
    pool("max_pool3d", "max", (1, 2, 4, 4, 5), [2, 2, 2], [2, 2, 1])
    pool("avg_pool1d_padding", "avg", (2, 3, 7), [3], [2], [1])
    pool("avg_pool2d", "avg", (2, 2, 4, 6), [2, 2])
    pool("avg_pool2d_padding_counted", "avg", (1, 2, 5, 6), [3, 3], [2, 2], [1, 1])
    pool("avg_pool2d_padding_not_counted", "avg", (1, 2, 5, 6), [3, 3], [2, 2], [1, 1], count_include_pad=False)
    pool("avg_pool2d_ceil_counted", "avg", (1, 2, 5, 6), [3, 2], [2, 2], [1, 1], ceil_mode=True)
    pool("avg_pool2d_ceil_not_counted", "avg", (1, 2, 6, 7), [3, 2], [2, 2], [1, 1], ceil_mode=True, count_include_pad=False)
    pool("avg_pool3d", "avg", (1, 2, 3, 4, 4), [2, 3, 2], [1, 2, 2], [0, 1, 1])

    def adaptive(name, x, out):
        fn = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d][len(out) - 1]
        case("pool", name, f"adaptive_avg_pool{len(out)}d", {"output_size": out}, lambda: {"x": r(*x)}, lambda x: fn(x, out))

    adaptive("adaptive_avg_pool1d_uneven", (2, 2, 7), [3])
    adaptive("adaptive_avg_pool2d_global", (2, 3, 4, 5), [1, 1])
    adaptive("adaptive_avg_pool2d_uneven", (1, 2, 7, 5), [3, 4])
    adaptive("adaptive_avg_pool2d_growing", (1, 2, 3, 2), [5, 3])

    def interpolate(name, x, size, mode, **kw):
        params = {"size": size, "mode": mode, **kw}
        case("pool", name, "interpolate", params, lambda: {"x": r(*x)}, lambda x: F.interpolate(x, **params))

    interpolate("interpolate_nearest_twice", (1, 2, 3, 4), [6, 8], "nearest")
    interpolate("interpolate_nearest_uneven", (1, 2, 5, 4), [7, 3], "nearest")
    interpolate("interpolate_nearest_1d", (2, 2, 5), [8], "nearest")
    for align in (False, True):
        end = "_corners" if align else ""
        interpolate(f"interpolate_bilinear_twice{end}", (1, 2, 3, 4), [6, 8], "bilinear", align_corners=align)
        interpolate(f"interpolate_bilinear_uneven{end}", (1, 2, 5, 4), [7, 3], "bilinear", align_corners=align)
        interpolate(f"interpolate_bilinear_to_one{end}", (1, 2, 4, 3), [1, 5], "bilinear", align_corners=align)
        interpolate(f"interpolate_linear{end}", (1, 2, 5), [9], "linear", align_corners=align)


def norm_cases():
    def layer(name, x, axes, affine=True, eps=1e-5, f32=False, scale=1.0):
        shape = x[len(x) - axes:]

        def make():
            inputs = {"x": t((r(*x).detach() * scale).reshape(-1).tolist(), *x)}
            return {**inputs, "weight": r(*shape), "bias": r(*shape)} if affine else inputs

        case("norm", name, "layer_norm", {"axes": axes, "eps": eps}, make,
             lambda x, weight=None, bias=None: F.layer_norm(x, shape, weight, bias, eps), f32)

    layer("layer_norm", (4, 7), 1)
    layer("layer_norm_f32", (4, 7), 1, f32=True)
    layer("layer_norm_two_axes", (2, 3, 4), 2)
    layer("layer_norm_plain", (3, 5), 1, affine=False)
    layer("layer_norm_large_eps", (2, 3, 4), 1, eps=0.1)
    layer("layer_norm_large_values", (3, 6), 1, scale=1e4)
    case("norm", "layer_norm_constant_row", "layer_norm", {"axes": 1, "eps": 1e-5}, lambda: {"x": t([2.5] * 8, 2, 4)},
         lambda x: F.layer_norm(x, (4,)))

    def group(name, x, n, eps=1e-5):
        case("norm", name, "group_norm", {"groups": n, "eps": eps},
             lambda: {"x": r(*x), "weight": r(x[1]), "bias": r(x[1])},
             lambda x, weight, bias: F.group_norm(x, n, weight, bias, eps))

    group("group_norm", (2, 6, 3, 2), 3)
    group("group_norm_one_group", (2, 4, 5), 1)
    group("group_norm_instance", (2, 3, 3, 3), 3)

    def batch(name, x, training, momentum=0.1, eps=1e-5, affine=True):
        def make():
            inputs = {"x": r(*x)}
            if affine:
                inputs |= {"weight": r(x[1]), "bias": r(x[1])}
            return inputs | {"running_mean": r(x[1]).detach(), "running_var": r(x[1], low=0.5, high=2).detach()}

        def run(x, *rest):
            *affine, running_mean, running_var = rest
            weight, bias = affine or (None, None)
            mean, var = running_mean.clone(), running_var.clone()
            y = F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
            return y, {"running_mean_after": mean, "running_var_after": var}

        case("norm", name, "batch_norm", {"training": training, "momentum": momentum, "eps": eps}, make, run)

    batch("batch_norm_train", (5, 3), True)
    batch("batch_norm_train_2d", (3, 2, 3, 4), True)
    batch("batch_norm_train_1d_momentum", (4, 3, 5), True, momentum=0.3, eps=1e-3)
    batch("batch_norm_train_plain", (6, 2), True, affine=False)
    batch("batch_norm_eval", (5, 3), False)
    batch("batch_norm_eval_2d", (2, 3, 2, 3), False)

    case("norm", "rms_norm", "rms_norm", {"axes": 1, "eps": 1e-6}, lambda: {"x": r(3, 6), "weight": r(6)},
         lambda x, weight: F.rms_norm(x, (6,), weight, 1e-6))
    case("norm", "rms_norm_plain", "rms_norm", {"axes": 1, "eps": 1e-3}, lambda: {"x": r(2, 3, 5)},
         lambda x: F.rms_norm(x, (5,), None, 1e-3))

    def soft(name, op, make, dim, f32=False):
        fn = {"softmax": F.softmax, "log_softmax": F.log_softmax, "logsumexp": torch.logsumexp}[op]
        case("norm", name, op, {"dim": dim}, make, lambda x: fn(x, dim=dim), f32)

    large = [1e4, -1e4, 0.0, 1e4, 9999.0, -1e4, -1e4, -9999.5, 1e4, 1.0, 2.0, 3.0]
    masked = [1.0, -math.inf, 2.0, 0.5, -math.inf, -math.inf, 3.0, -math.inf]
    for op in ("softmax", "log_softmax", "logsumexp"):
        soft(op, op, lambda: {"x": r(3, 5)}, 1)
        soft(f"{op}_f32", op, lambda: {"x": r(3, 5)}, 1, f32=True)
        soft(f"{op}_middle_axis", op, lambda: {"x": r(2, 4, 3)}, 1)
        soft(f"{op}_large", op, lambda: {"x": t(large, 3, 4)}, 1)
        soft(f"{op}_minus_infinity", op, lambda: {"x": t(masked, 2, 4)}, 1)
        soft(f"{op}_of_one", op, lambda: {"x": r(3, 1)}, 1)


def pointwise_cases():
    grid = [-1e4, -30.0, -8.0, -3.5, -3.0, -2.0, -1.0, -0.5, -0.1, -1e-3, 0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.0, 3.5, 8.0, 30.0, 1e4]
    activations = {
        "relu": ({}, F.relu),
        "relu6": ({}, F.relu6),
        "leaky_relu": ({"slope": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
        "elu": ({"alpha": 0.7}, lambda x: F.elu(x, 0.7)),
        "selu": ({}, F.selu),
        "celu": ({"alpha": 0.7}, lambda x: F.celu(x, 0.7)),
        "gelu": ({"approximate": "none"}, F.gelu),
        "gelu_tanh": ({"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh")),
        "silu": ({}, F.silu),
        "softplus": ({"beta": 1.0, "threshold": 20.0}, F.softplus),
        "mish": ({}, F.mish),
        "hardsigmoid": ({}, F.hardsigmoid),
        "hardswish": ({}, F.hardswish),
        "hardtanh": ({"low": -1.0, "high": 1.0}, F.hardtanh),
        "sigmoid": ({}, torch.sigmoid),
        "log_sigmoid": ({}, F.logsigmoid),
        "tanh": ({}, torch.tanh),
        "softsign": ({}, F.softsign),
        "erf": ({}, torch.erf),
    }
    for name, (params, fn) in activations.items():
        op = "gelu" if name.startswith("gelu") else name
        case("pointwise", name, op, params, lambda: {"x": t(grid + [round(rng.gauss(0, 2), 4) for _ in range(9)], 5, 6)}, fn)
    for name in ("gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "erf", "softplus"):
        params, fn = activations[name]
        op = "gelu" if name.startswith("gelu") else name
        case("pointwise", f"{name}_f32", op, params, lambda: {"x": t(grid + [round(rng.gauss(0, 2), 4) for _ in range(9)], 5, 6)},
             fn, f32=True)

    unary = {
        "neg": torch.neg, "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "sin": torch.sin, "cos": torch.cos,
        "tan": torch.tan, "atan": torch.atan, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
        "round": torch.round, "square": torch.square,
    }
    small = [-2.5, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.5]
    for name, fn in unary.items():
        case("pointwise", name, name, {}, lambda: {"x": t(small + [round(rng.gauss(0, 1), 4) for _ in range(10)], 4, 5)}, fn)
    positive = {"log": torch.log, "log2": torch.log2, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
                "reciprocal": torch.reciprocal}
    for name, fn in positive.items():
        case("pointwise", name, name, {}, lambda: {"x": r(3, 5, low=0.05, high=4)}, fn)

    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 1e-310, 710.0, -750.0]
    every = {**unary, **positive, "relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "erf": torch.erf}
    for name, fn in every.items():
        if name in ("sin", "cos", "tan"):
            values = [v for v in special if abs(v) < 1e300 or not math.isfinite(v)]
        else:
            values = special
        case("pointwise", f"{name}_special", name, {}, lambda: {"x": const(values, len(values))}, fn)

    def binary(name, op, make, fn):
        case("pointwise", name, op, {}, make, fn)

    binary("add_broadcast", "add", lambda: {"a": r(2, 1, 3), "b": r(4, 1)}, torch.add)
    binary("sub_broadcast", "sub", lambda: {"a": r(3), "b": r(2, 3)}, lambda a, b: a - b)
    binary("mul_broadcast", "mul", lambda: {"a": r(2, 3, 1), "b": r(1, 3, 4)}, torch.mul)
    binary("mul_scalar", "mul", lambda: {"a": r(), "b": r(2, 3)}, torch.mul)
    binary("mul_itself", "mul", lambda: {"a": r(2, 3)}, lambda a: a * a)
    binary("div_broadcast", "div", lambda: {"a": r(2, 3), "b": r(2, 1, low=0.5, high=2)}, torch.div)
    binary("div_special", "div", lambda: {"a": const([1.0, -1.0, 0.0, math.inf, math.nan, 1.0], 6),
                                          "b": const([0.0, 0.0, 0.0, math.inf, 1.0, -0.0], 6)}, torch.div)
    binary("maximum_ties_share", "maximum", lambda: {"a": t([1.0, 2.0, 3.0, -1.0], 4), "b": t([1.0, 3.0, 2.0, -1.0], 4)}, torch.maximum)
    binary("minimum_ties_share", "minimum", lambda: {"a": t([1.0, 2.0, 3.0, -1.0], 4), "b": t([1.0, 3.0, 2.0, -1.0], 4)}, torch.minimum)
    binary("maximum_special", "maximum", lambda: {"a": const([math.nan, 1.0, -math.inf, 0.0], 4), "b": const([1.0, math.nan, 2.0, -0.0], 4)},
           torch.maximum)
    binary("pow", "pow", lambda: {"a": r(3, 4, low=0.2, high=2), "b": r(4)}, torch.pow)
    binary("pow_special", "pow", lambda: {"a": const([0.0, 0.0, -2.0, -2.0, -2.0, math.inf, math.nan, 1.0, 0.0], 9),
                                          "b": const([0.0, -1.0, 3.0, 2.0, 0.5, -1.0, 0.0, math.nan, 2.0], 9)}, torch.pow)
    for exponent in (2.0, 3.0, -1.0, 0.5, 0.0, 2.5):
        case("pointwise", f"pow_scalar_{exponent}", "pow_scalar", {"exponent": exponent}, lambda: {"x": r(2, 4, low=0.1, high=3)},
             lambda x: x**exponent)
    case("pointwise", "pow_scalar_at_zero", "pow_scalar", {"exponent": 2.0}, lambda: {"x": t([0.0, -1.0, 2.0, -0.5], 4)}, lambda x: x**2.0)
    binary("remainder", "remainder", lambda: {"a": const([5.0, -5.0, 5.0, -5.0, 0.5, -0.5], 6), "b": const([3.0, 3.0, -3.0, -3.0, 0.25, 0.2], 6)},
           torch.remainder)
    binary("atan2", "atan2", lambda: {"a": r(2, 4), "b": r(2, 4)}, torch.atan2)
    case("pointwise", "clamp", "clamp", {"low": -0.5, "high": 1.0}, lambda: {"x": t([-2.0, -0.5, -0.4, 0.0, 0.99, 1.0, 1.01, 5.0], 8)},
         lambda x: torch.clamp(x, -0.5, 1.0))
    case("pointwise", "where", "where", {}, lambda: {"cond": index(2, 3, 1).bool(), "a": r(3, 4), "b": r(4)},
         lambda cond, a, b: torch.where(cond, a, b))
    case("pointwise", "where_keeps_nan_out", "where", {},
         lambda: {"cond": torch.tensor([True, False, True]), "a": t([1.0, math.nan, 2.0], 3), "b": t([math.nan, 3.0, math.inf], 3)},
         lambda cond, a, b: torch.where(cond, a, b))
    case("pointwise", "lerp", "lerp", {"weight": 0.3}, lambda: {"a": r(2, 3), "b": r(2, 3)}, lambda a, b: torch.lerp(a, b, 0.3))
    case("pointwise", "glu", "glu", {"dim": 1}, lambda: {"x": r(2, 6)}, lambda x: F.glu(x, 1))
    case("pointwise", "prelu", "prelu", {}, lambda: {"x": r(2, 3, 2), "weight": r(3)}, F.prelu)


def loss_cases():
    def cross(name, make, f32=False, **params):
        params = {"label_smoothing": 0.0, "ignore_index": -100, "reduction": "mean", **params}
        case("loss", name, "cross_entropy", params, make,
             lambda logits, target, weight=None: F.cross_entropy(logits, target, weight, **params), f32)

    plain = lambda: {"logits": r(5, 4), "target": index(4, 5)}
    weighted = lambda: {**plain(), "weight": r(4, low=0.2, high=2).detach()}

    def ignoring():
        inputs = weighted()
        inputs["target"][[1, 3]] = -100
        return inputs

    def soft():
        return {"logits": r(4, 3), "target": torch.softmax(r(4, 3).detach(), 1)}

    for reduction in ("mean", "sum", "none"):
        cross(f"cross_entropy_{reduction}", plain, reduction=reduction)
        cross(f"cross_entropy_weighted_{reduction}", weighted, reduction=reduction)
        cross(f"cross_entropy_smoothed_{reduction}", plain, reduction=reduction, label_smoothing=0.1)
        cross(f"cross_entropy_ignored_{reduction}", ignoring, reduction=reduction)
        cross(f"cross_entropy_probabilities_{reduction}", soft, reduction=reduction)
    cross("cross_entropy_f32", plain, f32=True)
    cross("cross_entropy_weighted_smoothed", weighted, label_smoothing=0.2)
    cross("cross_entropy_ignored_smoothed", ignoring, label_smoothing=0.2)
    cross("cross_entropy_probabilities_weighted", lambda: {**soft(), "weight": r(3, low=0.2, high=2).detach()})
    cross("cross_entropy_probabilities_smoothed", soft, label_smoothing=0.3)
    cross("cross_entropy_positions", lambda: {"logits": r(2, 3, 4), "target": index(3, 2, 4)})
    cross("cross_entropy_large", lambda: {"logits": t([1e4, 0.0, -1e4, -1e4, 1e4, 0.0], 2, 3), "target": torch.tensor([0, 0])})
    cross("cross_entropy_ignore_index_zero", plain, ignore_index=0)
    cross("cross_entropy_all_ignored", lambda: {"logits": r(2, 3), "target": torch.tensor([-100, -100])})

    def loss(name, op, make, fn, **params):
        case("loss", name, op, params, make, lambda *inputs: fn(*inputs, **params))

    for reduction in ("mean", "sum", "none"):
        loss(f"nll_{reduction}", "nll", lambda: {"log_probs": r(4, 3), "target": index(3, 4), "weight": r(3, low=0.2, high=2).detach()},
             lambda log_probs, target, weight, reduction: F.nll_loss(log_probs, target, weight, reduction=reduction), reduction=reduction)
        loss(f"mse_{reduction}", "mse", lambda: {"x": r(3, 2), "target": r(3, 2)},
             lambda x, target, reduction: F.mse_loss(x, target, reduction=reduction), reduction=reduction)
    loss("l1", "l1", lambda: {"x": t([0.5, -1.0, 2.0, 1.0], 4), "target": t([1.0, -2.0, 2.0, 0.0], 4)},
         lambda x, target, reduction: F.l1_loss(x, target, reduction=reduction), reduction="mean")
    steps = lambda: {"x": t([0.0, 0.3, 0.7, 2.0, -3.0, 1.5, 0.5], 7), "target": t([0.0] * 7, 7)}
    loss("huber", "huber", steps, lambda x, target, delta, reduction: F.huber_loss(x, target, reduction, delta), delta=1.5, reduction="mean")
    loss("smooth_l1", "smooth_l1", steps, lambda x, target, beta, reduction: F.smooth_l1_loss(x, target, reduction=reduction, beta=beta),
         beta=0.5, reduction="mean")
    loss("bce_with_logits", "bce_with_logits", lambda: {"x": r(3, 4), "target": index(2, 3, 4).double()},
         lambda x, target, reduction: F.binary_cross_entropy_with_logits(x, target, reduction=reduction), reduction="mean")
    loss("bce_with_logits_pos_weight", "bce_with_logits",
         lambda: {"x": r(3, 4), "target": r(3, 4, low=0, high=1).detach(), "pos_weight": r(4, low=0.5, high=3).detach()},
         lambda x, target, pos_weight, reduction: F.binary_cross_entropy_with_logits(x, target, pos_weight=pos_weight, reduction=reduction),
         reduction="mean")
    loss("bce_with_logits_large", "bce_with_logits", lambda: {"x": t([1e4, -1e4, 1e4, -1e4, 0.0], 5), "target": const([1.0, 1.0, 0.0, 0.0, 1.0], 5)},
         lambda x, target, reduction: F.binary_cross_entropy_with_logits(x, target, reduction=reduction), reduction="none")
    loss("bce", "bce", lambda: {"p": r(2, 4, low=0.05, high=0.95), "target": index(2, 2, 4).double()},
         lambda p, target, reduction: F.binary_cross_entropy(p, target, reduction=reduction), reduction="mean")
    loss("kl_div_sum", "kl_div", lambda: {"log_q": F.log_softmax(r(3, 4).detach(), 1).requires_grad_(), "p": F.softmax(r(3, 4).detach(), 1)},
         lambda log_q, p, reduction: F.kl_div(log_q, p, reduction=reduction), reduction="sum")
    loss("max_margin", "max_margin", lambda: {"score": r(8), "target": (index(2, 8) * 2 - 1).double()},
         lambda score, target: F.relu(1 - target * score).mean())
    loss("multi_margin", "multi_margin", lambda: {"x": r(4, 3), "target": index(3, 4)}, F.multi_margin_loss)
    loss("cosine_similarity", "cosine_similarity", lambda: {"a": r(3, 4), "b": r(3, 4)},
         lambda a, b, dim, eps: F.cosine_similarity(a, b, dim, eps), dim=1, eps=1e-8)


def attention_cases():
    def attention(name, q, k, v, mask=None, f32=False, **kw):
        params = {"causal": False, "scale": None, "grouped": False, **kw}

        def make():
            inputs = {"q": r(*q), "k": r(*k), "v": r(*v)}
            return inputs if mask is None else {**inputs, "mask": mask()}

        def run(q, k, v, mask=None):
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=params["causal"], scale=params["scale"],
                                                  enable_gqa=params["grouped"])

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            case("attention", name, "attention", params, make, run, f32)

    attention("attention", (5, 3), (5, 3), (5, 4))
    attention("attention_batch_heads", (2, 2, 4, 3), (2, 2, 4, 3), (2, 2, 4, 3))
    attention("attention_f32", (2, 2, 4, 3), (2, 2, 4, 3), (2, 2, 4, 3), f32=True)
    attention("attention_cross", (1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 2))
    attention("attention_causal", (1, 2, 5, 3), (1, 2, 5, 3), (1, 2, 5, 3), causal=True)
    attention("attention_causal_more_keys", (1, 1, 3, 2), (1, 1, 5, 2), (1, 1, 5, 2), causal=True)
    attention("attention_scale", (1, 2, 4, 3), (1, 2, 4, 3), (1, 2, 4, 3), scale=0.2)
    attention("attention_added_mask", (1, 2, 3, 3), (1, 2, 4, 3), (1, 2, 4, 3), mask=lambda: r(3, 4))
    keep = [[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]]
    attention("attention_bool_mask", (1, 2, 3, 3), (1, 2, 4, 3), (1, 2, 4, 3), mask=lambda: torch.tensor(keep).bool())
    empty = [[1, 1, 0], [0, 0, 0]]
    attention("attention_row_masked_out_is_zero", (1, 2, 3), (1, 3, 3), (1, 3, 2), mask=lambda: torch.tensor(empty).bool())
    attention("attention_grouped_heads", (1, 4, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2), grouped=True)

    def multi_head(x, in_weight, in_bias, out_weight, out_bias, causal=False):
        b, n, c = x.shape
        q, k, v = (y.reshape(b, n, 2, c // 2).transpose(1, 2) for y in F.linear(x, in_weight, in_bias).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return F.linear(y.transpose(1, 2).reshape(b, n, c), out_weight, out_bias)

    for causal in (False, True):
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            case("attention", "multi_head_attention" + "_causal" * causal, "multi_head_attention", {"heads": 2, "causal": causal},
                 lambda: {"x": r(2, 3, 4), "in_weight": r(12, 4), "in_bias": r(12), "out_weight": r(4, 4), "out_bias": r(4)},
                 lambda *i: multi_head(*i, causal=causal))


def rnn_cases():
    def rnn(kind, gates, batch=2, steps=4, inner=3, hidden=2):
        def make():
            inputs = {"x": r(batch, steps, inner), "w_ih": r(gates * hidden, inner), "w_hh": r(gates * hidden, hidden),
                      "b_ih": r(gates * hidden), "b_hh": r(gates * hidden), "h0": r(batch, hidden)}
            return {**inputs, "c0": r(batch, hidden)} if kind == "lstm" else inputs

        def run(x, w_ih, w_hh, b_ih, b_hh, h0, c0=None):
            weights = [w_ih, w_hh, b_ih, b_hh]
            tail = (True, 1, 0.0, False, False, True)
            if kind == "lstm":
                y, h, c = torch.lstm(x, (h0[None], c0[None]), weights, *tail)
                return y, {"h": h[0], "c": c[0]}
            y, h = (torch.gru if kind == "gru" else torch.rnn_tanh)(x, h0[None], weights, *tail)
            return y, {"h": h[0]}

        case("rnn", kind, kind, {}, make, run)

    rnn("lstm", 4)
    rnn("gru", 3)
    rnn("rnn_tanh", 1)


def reduce_cases():
    def reduce(name, op, make, fn, **params):
        case("reduce", name, op, params, make, fn)

    three = lambda: {"x": r(2, 3, 4)}
    reduce("sum_all", "sum", three, lambda x: x.sum(), dims=[0, 1, 2], keepdim=False)
    reduce("sum_axis", "sum", three, lambda x: x.sum(1), dims=[1], keepdim=False)
    reduce("sum_axes_kept", "sum", three, lambda x: x.sum((0, 2), keepdim=True), dims=[0, 2], keepdim=True)
    reduce("sum_empty", "sum", lambda: {"x": r(2, 0, 3)}, lambda x: x.sum(1), dims=[1], keepdim=False)
    reduce("mean_axes", "mean", three, lambda x: x.mean((0, 1)), dims=[0, 1], keepdim=False)
    reduce("mean_empty_is_nan", "mean", lambda: {"x": const([], 2, 0)}, lambda x: x.mean(1), dims=[1], keepdim=False)
    for correction in (0, 1):
        reduce(f"var_{correction}", "var", three, lambda x: x.var(2, correction=correction), dims=[2], keepdim=False, correction=correction)
        reduce(f"std_{correction}", "std", three, lambda x: x.std((0, 2), correction=correction), dims=[0, 2], keepdim=False,
               correction=correction)
    reduce("var_large_mean", "var", lambda: {"x": t([1e8 + v for v in (1.0, 2.0, 4.0, 7.0)], 4)}, lambda x: x.var(0, correction=1), dims=[0],
           keepdim=False, correction=1)
    reduce("prod", "prod", lambda: {"x": r(3, 4)}, lambda x: x.prod(1), dim=1, keepdim=False)
    zeros = [2.0, 3.0, 0.5, 1.5, 0.0, 3.0, -1.0, 2.0, 0.0, 4.0, 0.0, 5.0]
    reduce("prod_zeros", "prod", lambda: {"x": t(zeros, 3, 4)}, lambda x: x.prod(1), dim=1, keepdim=False)
    for p in (1, 2, 3, math.inf):
        reduce(f"norm_{p}", "norm", lambda: {"x": r(3, 4)}, lambda x: torch.linalg.vector_norm(x, p, 1), p=number(float(p)), dims=[1],
               keepdim=False)
    reduce("norm_2_at_zero", "norm", lambda: {"x": t([0.0, 0.0, 3.0, 4.0], 2, 2)}, lambda x: torch.linalg.vector_norm(x, 2, 1), p=2.0, dims=[1],
           keepdim=False)
    ties = [1.0, 3.0, 3.0, 2.0, 3.0, 0.0, 0.0, -1.0, 0.0, -2.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    tied = lambda: {"x": t(ties, 3, 5)}
    apart = lambda: {"x": distinct(2, 3, 4)}
    nan = lambda: {"x": const([1.0, math.nan, 2.0, -math.inf, 3.0, math.inf], 2, 3)}
    for op, fn, pick in (("max", torch.amax, torch.max), ("min", torch.amin, torch.min)):
        spread = f"a{op}"
        reduce(spread, spread, apart, lambda x: fn(x, (0, 2)), dims=[0, 2], keepdim=False)
        reduce(f"{spread}_ties_share", spread, tied, lambda x: fn(x, 1), dims=[1], keepdim=False)
        reduce(f"{spread}_nan", spread, nan, lambda x: fn(x, 1), dims=[1], keepdim=False)

        def picked(x):
            values, where = pick(x, 1)
            return values, {"indices": where}

        reduce(f"{op}_dim", f"{op}_dim", apart, picked, dim=1, keepdim=False)
        reduce(f"{op}_dim_ties_to_one", f"{op}_dim", tied, picked, dim=1, keepdim=False)
    reduce("argmax", "argmax", tied, lambda x: x.detach().argmax(1), dim=1, keepdim=False)
    reduce("argmin", "argmin", tied, lambda x: x.detach().argmin(1), dim=1, keepdim=False)
    reduce("argmax_nan", "argmax", nan, lambda x: x.argmax(1), dim=1, keepdim=False)
    reduce("cumsum", "cumsum", three, lambda x: x.cumsum(1), dim=1)
    reduce("cumsum_last", "cumsum", three, lambda x: x.cumsum(2), dim=2)
    reduce("cumprod", "cumprod", lambda: {"x": r(2, 4)}, lambda x: x.cumprod(1), dim=1)
    reduce("cumprod_zeros", "cumprod", lambda: {"x": t(zeros, 3, 4)}, lambda x: x.cumprod(1), dim=1)
    reduce("any", "any", lambda: {"x": index(2, 3, 3).bool()}, lambda x: x.any(1), dims=[1], keepdim=False)
    reduce("all", "all", lambda: {"x": torch.tensor([[1, 1], [1, 0], [0, 0]]).bool()}, lambda x: x.all(1), dims=[1], keepdim=False)
    case("reduce", "sum_f32", "sum", {"dims": [1], "keepdim": False}, lambda: {"x": r(2, 200, low=0, high=1)}, lambda x: x.sum(1), f32=True)


def index_cases():
    def idx(name, op, make, fn, **params):
        case("index", name, op, params, make, fn)

    idx("gather_dim_0", "gather", lambda: {"x": r(4, 3), "index": index(4, 2, 3)}, lambda x, index: x.gather(0, index), dim=0)
    idx("gather_dim_1_repeats", "gather", lambda: {"x": r(3, 4), "index": index(4, 3, 6)}, lambda x, index: x.gather(1, index), dim=1)
    idx("gather_smaller_index", "gather", lambda: {"x": r(3, 4, 2), "index": index(4, 2, 3, 1)}, lambda x, index: x.gather(1, index), dim=1)
    idx("take_along_broadcast", "take_along", lambda: {"x": r(3, 4), "index": index(4, 1, 2)},
        lambda x, index: torch.take_along_dim(x, index, 1), dim=1)
    idx("scatter_add_dim_0", "scatter_add", lambda: {"x": r(4, 3), "index": index(4, 5, 3), "src": r(5, 3)},
        lambda x, index, src: x.scatter_add(0, index, src), dim=0)
    idx("scatter_add_dim_1", "scatter_add", lambda: {"x": r(2, 3), "index": index(3, 2, 5), "src": r(2, 5)},
        lambda x, index, src: x.scatter_add(1, index, src), dim=1)
    once = lambda: {"x": r(3, 4), "index": torch.tensor([[2, 0], [1, 3], [0, 1]]), "src": r(3, 2)}
    idx("scatter_unique", "scatter", once, lambda x, index, src: x.scatter(1, index, src), dim=1)
    idx("index_select_repeats", "index_select", lambda: {"x": r(4, 3), "index": torch.tensor([2, 0, 2, 3, 2])},
        lambda x, index: x.index_select(0, index), dim=0)
    idx("index_select_dim_1", "index_select", lambda: {"x": r(2, 5, 2), "index": index(5, 3)}, lambda x, index: x.index_select(1, index), dim=1)
    idx("index_add", "index_add", lambda: {"x": r(3, 2), "index": torch.tensor([0, 2, 0, 0]), "src": r(4, 2)},
        lambda x, index, src: x.index_add(0, index, src), dim=0)
    idx("embedding", "embedding", lambda: {"weight": r(5, 3), "index": index(5, 2, 4)}, lambda weight, index: F.embedding(index, weight))
    idx("one_hot", "one_hot", lambda: {"index": index(4, 2, 3)}, lambda index: F.one_hot(index, 4), classes=4)

    def sort(x, descending):
        values, where = x.sort(dim=-1, descending=descending, stable=True)
        return values, {"indices": where}

    for descending in (False, True):
        end = "_descending" * descending
        idx(f"sort{end}", "sort", lambda: {"x": distinct(3, 5)}, lambda x: sort(x, descending), dim=1, descending=descending)
        idx(f"sort{end}_ties_stable", "sort", lambda: {"x": t([2.0, 1.0, 2.0, 1.0, 3.0, 1.0], 1, 6)}, lambda x: sort(x, descending),
            dim=1, descending=descending)
        idx(f"sort{end}_special", "sort", lambda: {"x": const([1.0, math.nan, -math.inf, 0.0, math.inf, -0.0, 2.0], 1, 7)},
            lambda x: sort(x, descending), dim=1, descending=descending)

    def topk(x, k, largest):
        values, where = x.topk(k, 1, largest=largest, sorted=True)
        return values, {"indices": where}

    idx("topk", "topk", lambda: {"x": distinct(2, 7)}, lambda x: topk(x, 3, True), dim=1, k=3, largest=True)
    idx("topk_smallest", "topk", lambda: {"x": distinct(2, 7)}, lambda x: topk(x, 2, False), dim=1, k=2, largest=False)

    def pad(name, x, pads, mode, value=0.0):
        params = {"pads": pads, "mode": mode, "value": value}
        flat = [n for pair in reversed(pads) for n in pair]
        idx(name, "pad", lambda: {"x": r(*x)}, lambda x: F.pad(x, flat, mode, value if mode == "constant" else None), **params)

    pad("pad_constant", (2, 3), [[1, 0], [2, 1]], "constant", 0.5)
    pad("pad_constant_crops", (3, 4), [[0, -1], [-1, 2]], "constant")
    pad("pad_reflect", (1, 2, 4, 3), [[2, 1], [1, 2]], "reflect")
    pad("pad_reflect_1d", (2, 2, 4), [[3, 2]], "reflect")
    pad("pad_replicate", (1, 2, 2, 3), [[2, 1], [0, 3]], "replicate")
    pad("pad_circular", (1, 2, 3, 4), [[1, 2], [3, 1]], "circular")
    idx("slice_step", "slice", lambda: {"x": r(6, 5)}, lambda x: x[1:6:2, 0:4:3], ranges=[[1, 6, 2], [0, 4, 3]])
    idx("concat", "concat", lambda: {"a": r(2, 3), "b": r(2, 1), "c": r(2, 2)}, lambda a, b, c: torch.cat([a, b, c], 1), dim=1)
    idx("stack", "stack", lambda: {"a": r(2, 3), "b": r(2, 3)}, lambda a, b: torch.stack([a, b], 1), dim=1)
    idx("flip", "flip", lambda: {"x": r(2, 3, 2)}, lambda x: x.flip((0, 2)), dims=[0, 2])
    idx("roll", "roll", lambda: {"x": r(2, 5)}, lambda x: x.roll(2, 1), dim=1, shift=2)
    idx("permute", "permute", lambda: {"x": r(2, 3, 4)}, lambda x: x.permute(2, 0, 1), dims=[2, 0, 1])
    idx("expand", "expand", lambda: {"x": r(2, 1, 3)}, lambda x: x.expand(4, 2, 5, 3), shape=[4, 2, 5, 3])
    idx("tril", "tril", lambda: {"x": r(3, 4)}, lambda x: x.tril(1), diagonal=1)
    idx("triu", "triu", lambda: {"x": r(2, 3, 3)}, lambda x: x.triu(-1), diagonal=-1)
    idx("diagonal", "diagonal", lambda: {"x": r(2, 3, 4)}, lambda x: x.diagonal(1, 1, 2), offset=1, dim1=1, dim2=2)
    idx("unfold", "unfold", lambda: {"x": r(2, 7)}, lambda x: x.unfold(1, 3, 2), dim=1, size=3, step=2)


def einsum_cases():
    def ein(equation, *shapes):
        letters = "abcdefgh"
        case("einsum", f"einsum {equation}", "einsum", {"equation": equation}, lambda: {letters[i]: r(*s) for i, s in enumerate(shapes)},
             lambda *i: torch.einsum(equation, *i))

    ein("ij,jk->ik", (2, 3), (3, 4))
    ein("ij,kj->ik", (2, 3), (4, 3))
    ein("bij,bjk->bik", (2, 3, 4), (2, 4, 2))
    ein("bhid,bhjd->bhij", (2, 2, 3, 2), (2, 2, 4, 2))
    ein("bhij,bhjd->bhid", (1, 2, 3, 4), (1, 2, 4, 2))
    ein("bid,hde->bhie", (2, 3, 2), (2, 2, 3))
    ein("i,j->ij", (3,), (4,))
    ein("i,i->", (5,), (5,))
    ein("ij->ji", (2, 3))
    ein("ij->", (2, 3))
    ein("bij->b", (2, 3, 4))
    ein("bij->ij", (2, 3, 4))
    ein("abc->cab", (2, 3, 4))
    ein("ab,bc,cd->ad", (2, 3), (3, 4), (4, 2))
    ein("ab,ac,ad->bcd", (2, 3), (2, 2), (2, 4))
    ein("i,j,k->ijk", (2,), (3,), (2,))
    ein("bi,oij,bj->bo", (2, 3), (4, 3, 2), (2, 2))
    ein("ij,ij->ij", (2, 3), (2, 3))
    ein("ij,i->ij", (2, 3), (2,))
    ein("ij,jk", (2, 3), (3, 2))
    ein("ba", (2, 3))
    ein("...ij,...jk->...ik", (2, 1, 2, 3), (3, 3, 2))

    def mat(name, a, b, f32=False):
        case("einsum", name, "matmul", {}, lambda: {"a": r(*a), "b": r(*b)}, torch.matmul, f32)

    mat("matmul", (3, 4), (4, 2))
    mat("matmul_f32", (5, 17), (17, 3), f32=True)
    mat("matmul_vector_vector", (4,), (4,))
    mat("matmul_matrix_vector", (3, 4), (4,))
    mat("matmul_vector_matrix", (3,), (3, 4))
    mat("matmul_batched", (2, 3, 4), (2, 4, 2))
    mat("matmul_batch_times_matrix", (2, 3, 4), (4, 2))
    mat("matmul_matrix_times_batch", (3, 4), (2, 4, 2))
    mat("matmul_broadcast", (2, 1, 3, 2), (3, 2, 2))
    mat("matmul_batch_vector", (2, 3, 4), (4,))
    mat("matmul_vector_batch", (3,), (2, 3, 4))
    mat("matmul_inner_of_one", (3, 1), (1, 4))
    mat("matmul_empty_inner", (2, 0), (0, 3))
    case("einsum", "linear", "linear", {}, lambda: {"x": r(2, 3, 4), "weight": r(5, 4), "bias": r(5)}, F.linear)


def second_cases():
    def hvp(name, formula, make, fn):
        """Output: the gradient of sum(fn) pulled along v, once more differentiated: H·v, flattened over all inputs."""

        def run(*inputs):
            *leaves, v = inputs
            first = torch.autograd.grad(fn(*leaves).sum(), leaves, create_graph=True)
            flat = torch.cat([g.reshape(-1) for g in first])
            second = torch.autograd.grad((flat * v).sum(), leaves)
            return torch.cat([g.reshape(-1) for g in second]).detach(), {"gradient": flat}

        def full():
            inputs = make()
            n = sum(x.numel() for x in inputs.values())
            return {**inputs, "v": r(n).detach()}

        case("second", name, "hvp", {"formula": formula}, full, run)

    hvp("hvp_tanh", "sum(tanh(x))", lambda: {"x": r(6)}, lambda x: torch.tanh(x))
    hvp("hvp_sigmoid", "sum(sigmoid(x))", lambda: {"x": r(6)}, lambda x: torch.sigmoid(x))
    hvp("hvp_cubic", "sum(x*x*x)", lambda: {"x": r(6)}, lambda x: x * x * x)
    hvp("hvp_exp_sin", "sum(exp(sin(x)))", lambda: {"x": r(6)}, lambda x: torch.exp(torch.sin(x)))
    hvp("hvp_log_ratio", "sum(log(x*x + 1) / (exp(x) + 2))", lambda: {"x": r(6)}, lambda x: torch.log(x * x + 1) / (torch.exp(x) + 2))
    hvp("hvp_two_inputs", "sum(x*x*y + sin(y)*x)", lambda: {"x": r(4), "y": r(4)}, lambda x, y: x * x * y + torch.sin(y) * x)
    hvp("hvp_logsumexp", "sum(logsumexp(x, dim 1))", lambda: {"x": r(2, 4)}, lambda x: torch.logsumexp(x, 1))
    hvp("hvp_gelu", "sum(gelu(x)), exact", lambda: {"x": r(6)}, lambda x: F.gelu(x))
    hvp("hvp_matmul", "sum(tanh(a @ b))", lambda: {"a": r(2, 3), "b": r(3, 2)}, lambda a, b: torch.tanh(a @ b))
    hvp("hvp_layer_norm", "sum(layer_norm(x, last axis, eps 1e-5) ** 3)", lambda: {"x": r(2, 5)}, lambda x: F.layer_norm(x, (5,)) ** 3)
    hvp("hvp_conv2d", "sum(conv2d(x, w, padding 1) ** 2)", lambda: {"x": r(1, 1, 3, 3), "w": r(1, 1, 3, 3)},
        lambda x, w: F.conv2d(x, w, padding=1) ** 2)
    hvp("hvp_softmax", "sum(softmax(x, dim 1) ** 2)", lambda: {"x": r(2, 4)}, lambda x: F.softmax(x, 1) ** 2)

    def third(x):
        y = x.tanh()
        out = {}
        for name in ("first", "second", "third"):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            out[name] = y
        return out.pop("third").detach(), out

    case("second", "third_derivative_of_tanh", "third_derivative", {"formula": "tanh(x)"}, lambda: {"x": r(6)}, third)


def optim_cases():
    def train(name, kind, options, clip=None, f32=False):
        global rng, dtype
        rng = random.Random("optim")  # the same network and data in every case
        dtype = torch.float32 if f32 else torch.float64
        x, y = const([round(rng.gauss(0, 1), 4) for _ in range(32)], 8, 4), index(3, 8)
        params = {"w1": r(6, 4), "b1": r(6), "w2": r(3, 6), "b2": r(3)}
        inputs = [tensor(x, "x"), tensor(y, "target")] + [tensor(p, k) for k, p in params.items()]
        optimizer = getattr(torch.optim, kind)(params.values(), **options)
        losses, kept = [], {}
        for step in range(1, 51):
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(torch.tanh(F.linear(x, params["w1"], params["b1"])), params["w2"], params["b2"]), y)
            loss.backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(params.values(), clip)
            if kind == "LBFGS":
                optimizer.step(lambda: loss)  # one iteration: the closure is asked once, and the gradients are there
            else:
                optimizer.step()
            losses.append(number(loss.item()))
            if step in (1, 10, 50):
                kept[str(step)] = [tensor(p, k) for k, p in params.items()]
        shown = {"optimizer": kind, **options, "clip_norm": clip}
        line = {"name": name, "op": "train", "params": shown, "dtype": KIND[dtype], "inputs": inputs, "losses": losses, "trajectory": kept}
        dtype = torch.float64
        add("optim", name, line)

    train("sgd", "SGD", {"lr": 0.1})
    train("sgd_f32", "SGD", {"lr": 0.1}, f32=True)
    train("sgd_momentum", "SGD", {"lr": 0.1, "momentum": 0.9})
    train("sgd_momentum_dampening", "SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5})
    train("sgd_nesterov", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True})
    train("sgd_weight_decay", "SGD", {"lr": 0.1, "weight_decay": 0.05})
    train("sgd_momentum_weight_decay", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05})
    train("sgd_clipped", "SGD", {"lr": 0.1, "momentum": 0.9}, clip=0.5)
    train("adam", "Adam", {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8})
    train("adam_f32", "Adam", {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8}, f32=True)
    train("adam_betas_eps", "Adam", {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-3})
    train("adam_weight_decay", "Adam", {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1})
    train("adam_amsgrad", "Adam", {"lr": 0.05, "betas": [0.9, 0.9], "eps": 1e-8, "amsgrad": True})
    train("adamw", "AdamW", {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01})
    train("adamw_strong_decay", "AdamW", {"lr": 0.05, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.5})
    train("rmsprop", "RMSprop", {"lr": 0.01, "alpha": 0.99, "eps": 1e-8})
    train("rmsprop_momentum_centered", "RMSprop", {"lr": 0.01, "alpha": 0.95, "eps": 1e-6, "momentum": 0.9, "centered": True})
    train("adagrad", "Adagrad", {"lr": 0.1, "eps": 1e-10})
    train("adagrad_decay", "Adagrad", {"lr": 0.1, "lr_decay": 0.05, "eps": 1e-8, "weight_decay": 0.02, "initial_accumulator_value": 0.3})
    train("rmsprop_weight_decay", "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.05})
    train("adamw_amsgrad", "AdamW", {"lr": 0.05, "betas": [0.9, 0.9], "eps": 1e-8, "weight_decay": 0.1, "amsgrad": True})
    train("adamax", "Adamax", {"lr": 0.02, "betas": [0.9, 0.999], "eps": 1e-8})
    train("adamax_weight_decay", "Adamax", {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.05})
    train("nadam", "NAdam", {"lr": 0.02, "betas": [0.9, 0.999], "eps": 1e-8, "momentum_decay": 0.004})
    train("nadam_decoupled", "NAdam", {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-6, "momentum_decay": 0.01, "weight_decay": 0.1,
                                       "decoupled_weight_decay": True})
    train("radam", "RAdam", {"lr": 0.02, "betas": [0.9, 0.999], "eps": 1e-8})
    train("radam_weight_decay", "RAdam", {"lr": 0.05, "betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.05})
    train("adadelta", "Adadelta", {"lr": 1.0, "rho": 0.9, "eps": 1e-6})
    train("adadelta_weight_decay", "Adadelta", {"lr": 0.7, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.05})
    train("adam_clipped", "Adam", {"lr": 0.02, "betas": [0.9, 0.999], "eps": 1e-8}, clip=0.2)
    train("lbfgs", "LBFGS", {"lr": 0.5, "max_iter": 1, "history_size": 10})
    train("lbfgs_short", "LBFGS", {"lr": 0.125, "max_iter": 1, "history_size": 3})


def main():
    for make in (conv_cases, pool_cases, norm_cases, pointwise_cases, loss_cases, attention_cases, rnn_cases, reduce_cases, index_cases,
                 einsum_cases, second_cases, optim_cases):
        make()
    total = 0
    for old in HERE.glob("*.jsonl"):
        old.unlink()
    for group, lines in groups.items():
        text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        (HERE / f"{group}.jsonl").write_text(text)
        total += len(text)
        print(f"{group:10} {len(lines):4} cases {len(text) / 1024:7.1f} KiB")
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    (HERE / "versions.json").write_text(json.dumps(versions) + "\n")
    print(f"{'all':10} {len(names):4} cases {total / 1024:7.1f} KiB, torch {torch.__version__}")


main()
