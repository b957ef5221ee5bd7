"""Reference values of layers, made with PyTorch: run `python make.py > values.jsonl` beside this file.

A case: the layer as kiln's text, its parameters under kiln's paths (a dense weight as [in, out]), input, output, and the
gradients of sum(output * upstream) in the input and in each parameter. f64 throughout. `training`: the mode.
"""

import json
import sys

import torch
from torch import nn

torch.manual_seed(20261121)
torch.set_default_dtype(torch.float64)


def tensor(t):
    return {"shape": list(t.shape), "data": [float("%.12g" % x) for x in t.detach().reshape(-1).tolist()]}


def case(text, module, shape, training=True, integers=None, turned=()):
    module.train(training)
    for p in module.parameters():
        with torch.no_grad():
            p.copy_(torch.randn_like(p) * 0.5)
    if integers is None:
        x = torch.randn(shape, requires_grad=True)
    else:
        x = torch.randint(0, integers, shape)
    y = module(x)
    upstream = torch.randn_like(y)
    (y * upstream).sum().backward()

    def own(name, t):
        return tensor(t.t() if name in turned else t)

    print(json.dumps({
        "text": text,
        "training": training,
        "input": tensor(x),
        "parameters": {"0." + n: own(n, p) for n, p in module.named_parameters()},
        "output": tensor(y),
        "upstream": tensor(upstream),
        "input_gradient": tensor(x.grad) if x.grad is not None else None,
        "gradients": {"0." + n: own(n, p.grad) for n, p in module.named_parameters()},
        "states": {"0." + n: tensor(b) for n, b in module.named_buffers() if n.startswith("running")},
    }))


case("dense 3", nn.Linear(4, 3), (5, 4), turned=("weight",))
case("dense 3 no-bias", nn.Linear(4, 3, bias=False), (2, 5, 4), turned=("weight",))
case("conv 4 3", nn.Conv1d(2, 4, 3), (2, 2, 9))
case("conv 4 3 stride 2 padding 1", nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 7, 6))
case("conv 4 3x2 padding 1x0 dilation 2", nn.Conv2d(2, 4, (3, 2), padding=(1, 0), dilation=2), (1, 2, 8, 7))
case("conv 6 3 padding same groups 3", nn.Conv2d(3, 6, 3, padding="same", groups=3), (2, 3, 5, 5))
case("depthwise 3 padding 1", nn.Conv2d(4, 4, 3, padding=1, groups=4), (2, 4, 5, 6))
case("conv 2 2", nn.Conv3d(2, 2, 2), (1, 2, 3, 4, 3))
case("conv-transpose 3 2 stride 2", nn.ConvTranspose1d(2, 3, 2, stride=2), (2, 2, 5))
case("conv-transpose 4 3 stride 2 padding 1 output-padding 1",
     nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1), (2, 2, 4, 5))
case("conv-transpose 4 3 groups 2", nn.ConvTranspose2d(2, 4, 3, groups=2), (1, 2, 4, 4))
case("conv-transpose 2 2", nn.ConvTranspose3d(2, 2, 2), (1, 2, 2, 3, 2))
case("batch-norm", nn.BatchNorm1d(3), (6, 3))
case("batch-norm", nn.BatchNorm2d(3), (2, 3, 4, 5))
case("batch-norm", nn.BatchNorm2d(3), (2, 3, 4, 5), training=False)
case("layer-norm", nn.LayerNorm(6), (4, 6))
case("rms-norm", nn.RMSNorm(6, eps=1e-6), (4, 6))
case("group-norm 2", nn.GroupNorm(2, 4), (3, 4, 3, 2))
case("instance-norm", nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 4))
case("embedding 7 3", nn.Embedding(7, 3), (2, 5), integers=7)
case("prelu", nn.PReLU(3), (2, 3, 4))
for text, module in [
    ("relu", nn.ReLU()), ("relu6", nn.ReLU6()), ("leaky-relu 0.01", nn.LeakyReLU()), ("elu 1", nn.ELU()),
    ("celu 1.5", nn.CELU(1.5)), ("selu", nn.SELU()), ("gelu", nn.GELU()), ("gelu-tanh", nn.GELU("tanh")),
    ("silu", nn.SiLU()), ("softplus", nn.Softplus()), ("softsign", nn.Softsign()), ("mish", nn.Mish()),
    ("hard-sigmoid", nn.Hardsigmoid()), ("hard-swish", nn.Hardswish()), ("sigmoid", nn.Sigmoid()),
    ("log-sigmoid", nn.LogSigmoid()), ("tanh", nn.Tanh()), ("softmax", nn.Softmax(-1)),
    ("log-softmax", nn.LogSoftmax(-1)),
]:
    case(text, module, (3, 7))
case("pool 2", nn.MaxPool2d(2), (2, 2, 5, 6))
case("pool 3 stride 2 padding 1 ceil", nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 7))
case("pool 2", nn.MaxPool1d(2), (2, 2, 7))
case("avg-pool 3 stride 2 padding 1 without-padding", nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 2, 6, 7))
case("adaptive-avg-pool 3x2", nn.AdaptiveAvgPool2d((3, 2)), (2, 2, 7, 5))
case("adaptive-pool 2", nn.AdaptiveMaxPool2d(2), (1, 2, 5, 5))
case("global-avg-pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 3, 4, 5))
case("flatten", nn.Flatten(), (2, 3, 4))
case("reshape 6 -1", nn.Unflatten(1, (6, 2)), (2, 12))
case("upsample 2", nn.Upsample(scale_factor=2), (1, 2, 3, 2))
case("upsample-linear 2", nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4))
case("dropout 0.5", nn.Dropout(), (3, 4), training=False)


def first_of(module):
    """The same module, of whose results only the first comes out."""
    class First(module):
        def forward(self, x):
            return super().forward(x)[0]
    return First


class Attention(nn.MultiheadAttention):
    causal = False

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return super().forward(x, x, x, attn_mask=mask, need_weights=False)[0]


class Block(nn.TransformerEncoderLayer):
    causal = False

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return super().forward(x, src_mask=mask)


class Positions(nn.Module):
    def __init__(self, count, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, width))

    def forward(self, x):
        return x + self.weight[: x.shape[1]]


class Sinusoids(nn.Module):
    def forward(self, x):
        steps, width = x.shape[1:]
        table = torch.zeros(steps, width)
        step = torch.arange(steps, dtype=torch.float64)[:, None]
        rate = torch.exp(torch.arange(0, width, 2) * (-torch.log(torch.tensor(10000.0)) / width))
        table[:, 0::2], table[:, 1::2] = torch.sin(step * rate), torch.cos(step * rate)[:, : width // 2]
        return x + table


class Over(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


LSTM, GRU, RNN = first_of(nn.LSTM), first_of(nn.GRU), first_of(nn.RNN)
case("lstm 3", LSTM(2, 3, batch_first=True), (2, 4, 2))
case("lstm 2 layers 2 bidirectional", LSTM(3, 2, 2, bidirectional=True, batch_first=True), (2, 3, 3))
case("lstm 2 no-bias", LSTM(3, 2, bias=False, batch_first=True), (1, 3, 3))
case("gru 3", GRU(2, 3, batch_first=True), (2, 4, 2))
case("gru 2 layers 2 bidirectional", GRU(3, 2, 2, bidirectional=True, batch_first=True), (2, 3, 3))
case("rnn 3", RNN(2, 3, batch_first=True), (2, 4, 2))
case("rnn 2 relu bidirectional", RNN(2, 2, nonlinearity="relu", bidirectional=True, batch_first=True), (2, 3, 2))
case("attention 2", Attention(4, 2, batch_first=True), (2, 3, 4), turned=("out_proj.weight",))
causal = Attention(6, 3, batch_first=True)
causal.causal = True
case("attention 3 causal", causal, (1, 4, 6), turned=("out_proj.weight",))
TURNED = ("self_attn.out_proj.weight", "linear1.weight", "linear2.weight")
case("transformer 2 feedforward 3 post-norm relu", Block(4, 2, 3, dropout=0, batch_first=True), (2, 3, 4), turned=TURNED)
block = Block(4, 2, 16, dropout=0, activation="gelu", norm_first=True, batch_first=True)
block.causal = True
case("transformer 2 causal", block, (1, 3, 4), turned=TURNED)
case("positions 5", Positions(5, 3), (2, 4, 3))
case("sinusoidal-positions", Sinusoids(), (1, 4, 5))
case("last", Over(lambda x: x[:, -1]), (2, 3, 2))
case("mean-over-time", Over(lambda x: x.mean(1)), (2, 3, 2))
case("max-over-time", Over(lambda x: x.amax(1)), (2, 3, 2))


class Blend(nn.Module):
    """Rows from the same input, in equal parts; `sizes` as kiln's `targets`, of classes alone a single one."""

    def __init__(self, sizes, *rows):
        super().__init__()
        self.sizes = sizes
        for place, row in enumerate(rows):
            self.add_module(str(place), row)

    def forward(self, x):
        each = [row(x) for row in self.children()]
        if self.sizes is None:
            return torch.stack(each).mean(0)
        parts = []
        for own in zip(*(y.split(self.sizes, 1) for y in each)):
            own = torch.stack(own)
            if own.shape[2] > 1:
                parts.append(torch.log(own.softmax(2).mean(0)))
            elif len(self.sizes) > 1:
                parts.append(own.mean(0))
            else:
                parts.append(torch.logit(own.sigmoid().mean(0)))
        return torch.cat(parts, 1)


def rows(*sizes):
    return [nn.Sequential(nn.Linear(4, size)) for size in sizes]


DENSE = ("0.0.weight", "1.0.weight", "2.0.weight")
case("blend(dense 3; dense 3)", Blend(None, *rows(3, 3)), (2, 4), turned=DENSE)
case("blend(dense 3; dense 3; dense 3) classes", Blend([3], *rows(3, 3, 3)), (2, 4), turned=DENSE)
case("blend(dense 1; dense 1) classes", Blend([1], *rows(1, 1)), (2, 4), turned=DENSE)
case("blend(dense 4; dense 4) targets 3 1", Blend([3, 1], *rows(4, 4)), (2, 4), turned=DENSE)


class Scale(nn.Module):
    def __init__(self, shape, rate):
        super().__init__()
        self.weight, self.rate = nn.Parameter(torch.zeros(shape)), rate

    def forward(self, x):
        return x * (1 + self.rate * self.weight)


class Waves(nn.Module):
    """Of some columns, side by side, in front of what came in."""

    def __init__(self, places, size, count):
        super().__init__()
        self.places = places
        self.frequency = nn.Parameter(torch.zeros(len(places), count))
        self.phase = nn.Parameter(torch.zeros(len(places), count))
        self.weight = nn.Parameter(torch.zeros(len(places), count, size))
        self.bias = nn.Parameter(torch.zeros(len(places), size))

    def forward(self, x):
        each = []
        for at, place in enumerate(self.places):
            waves = torch.cos(2 * torch.pi * x[..., place : place + 1] * self.frequency[at] + self.phase[at])
            each.append(waves @ self.weight[at] + self.bias[at])
        return torch.cat([*each, x], -1)


class Members(nn.Module):
    def __init__(self, members, features):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, features))

    def forward(self, x):
        return torch.stack([x * scale for scale in self.weight], 1)


class MembersDense(nn.Module):
    def __init__(self, members, features, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, features, outputs))
        self.bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, x):
        each = [x[:, at] @ weight + bias for at, (weight, bias) in enumerate(zip(self.weight, self.bias))]
        return torch.stack(each).mean(0)


case("scale rate 6", Scale((5,), 6), (3, 5))
case("scale", Scale((3, 4), 1), (2, 3, 4))
case("waves 2 count 4 of 1-2+4", Waves([0, 1, 3], 2, 4), (3, 5))
case("waves", Waves([0, 1], 3, 16), (2, 3, 2))
case("members 3", Members(3, 5), (2, 5))
case("members-dense 2", MembersDense(3, 4, 2), (5, 3, 4))


class Take(nn.Module):
    def forward(self, x):
        return x[..., [0, 1, 3]]


class Steps(nn.Module):
    """The last 3 * 2 numbers are those of three steps; what stands before is told to each, behind its own."""

    def forward(self, x):
        own = x[:, -6:].reshape(-1, 3, 2)
        told = x[:, None, :-6].expand(-1, 3, -1)
        return torch.cat([own, told], -1)


case("take 1-2+4", Take(), (3, 5))
case("steps 3 2", Steps(), (4, 10))
