"""PyTorch's side of the bench: eager mode, each workload in every mode that may be its fastest; run.py keeps the best.

Modes: `plain`; `fused`, the optimizer's one-kernel variant; `channels_last`, the other memory layout for images.
Denormals are flushed, as PyTorch lets its users choose; the rest is its defaults.
"""

import torch
import torch.nn.functional as F
from torch import nn

import common
import workloads


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.norm2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.short = nn.Identity()
        if stride != 1 or inner != outer:
            self.short = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def resnet18():
    sizes = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *(Block(*s) for s in sizes), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class TransformerBlock(nn.Module):
    def __init__(self, heads, width):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, steps, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, dim=2)
        q, k, v = (part.view(batch, steps, self.heads, width // self.heads).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, steps, width))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self, blocks, heads, width, steps):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(workloads.CHARACTERS, width), nn.Embedding(steps, width)
        self.blocks = nn.Sequential(*(TransformerBlock(heads, width) for _ in range(blocks)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, workloads.CHARACTERS)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.out(self.norm(self.blocks(x)))


class Recurrent(nn.Module):
    def __init__(self, inner, state):
        super().__init__()
        self.lstm, self.out = nn.LSTM(inner, state, batch_first=True), nn.Linear(state, workloads.CHARACTERS)

    def forward(self, x):
        return self.out(self.lstm(x)[0])


def sequence_step(name, fused):
    torch.manual_seed(1)
    if name == "lstm":
        batch, steps, inner, state = workloads.LSTM
        model, x = Recurrent(inner, state), torch.randn(batch, steps, inner)
        opt = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    else:
        blocks, heads, width, steps, batch = workloads.GPTS[name]
        model, x = Gpt(blocks, heads, width, steps), torch.randint(workloads.CHARACTERS, (batch, steps))
        opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=fused)
    y = torch.randint(workloads.CHARACTERS, (batch * steps,))

    def call():
        loss = F.cross_entropy(model(x).flatten(0, 1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()

    return call


def generation(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    codes = (torch.arange(workloads.PROMPT) * 7919 % workloads.PIECES)[None]
    options = dict(do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0)
    return lambda: model.generate(codes, attention_mask=torch.ones_like(codes), max_new_tokens=workloads.GENERATED, **options)


def optimizer(name, model, fused):
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)


def epoch(args, which, fused):
    images, labels = (torch.from_numpy(a) for a in common.mnist(args.data))
    labels = labels.long()
    model = mlp()
    opt = optimizer(which, model, fused)
    state = {}

    def call():
        order = torch.randperm(len(images))
        total = torch.zeros(())
        for rows in order.split(workloads.BATCH):
            loss = F.cross_entropy(model(images[rows].float().div_(255)), labels[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.detach() * len(rows)
        state["loss"] = total.item() / len(images)

    return call, state


def step(model, which, fused, layout, shape):
    model = model.to(memory_format=layout)
    x = torch.randn(shape).contiguous(memory_format=layout)
    y = torch.randint(10, (shape[0],))
    opt = optimizer(which, model, fused)

    def call():
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()

    return call


def adamw(gradient, weight, mean, square):
    mean.lerp_(gradient, 0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    weight.mul_(1 - 1e-5).addcdiv_(mean, square.abs().sqrt_().mul_(1.5).add_(1e-8), value=-1e-3)


def modes(name, args):
    """Yields (mode, call, state) for each way to run the workload."""
    layouts = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}
    if name in ("w1", "w2"):
        for fused in (False, True):
            yield "fused" if fused else "plain", *epoch(args, "sgd" if name == "w1" else "adam", fused)
    elif name in ("w3", "resnet18"):
        for mode, layout in layouts.items():
            for fused in (False, True):
                torch.manual_seed(1)
                model, which, shape = (cnn(), "adam", (64, 1, 28, 28)) if name == "w3" else (resnet18(), "sgd", (32, 3, 32, 32))
                yield mode + "+fused" * fused, step(model, which, fused, layout, shape), {}
    elif name in workloads.GPTS or name == "lstm":
        for fused in (False, True):
            yield "fused" if fused else "plain", sequence_step(name, fused), {}
    elif name in workloads.GENERATIONS:
        yield "plain", generation(args.data / name), {}
    elif "_infer" in name:
        kind, batch = name.split("_infer")
        for mode, layout in layouts.items() if kind == "w3" else [("plain", None)]:
            model = (mlp if kind == "w1" else cnn)().eval()
            x = torch.randn(int(batch), *([784] if kind == "w1" else [1, 28, 28]))
            if layout is not None:
                model, x = model.to(memory_format=layout), x.contiguous(memory_format=layout)
            yield mode, lambda: model(x), {}
    elif name.startswith("matmul_"):
        _, n, *behind = name.split("_")
        a, b, c, mean, square = (torch.randn(int(n), int(n)) for _ in range(5))
        # The product alone, which what follows it is measured against, and with it.
        yield "plain", lambda: a @ b, {}
        for kind in behind:
            yield kind, {"gelu": lambda: F.gelu(a @ b), "residual": lambda: torch.addmm(c, a, b),
                         "adamw": lambda: adamw(a @ b, c, mean, square)}[kind], {}
    elif name.startswith("mlp"):
        i, o = workloads.LAYERS[int(name[3]) - 1]
        x, w, dy = torch.randn(workloads.BATCH, i), torch.randn(o, i), torch.randn(workloads.BATCH, o)
        yield "plain", {"fwd": lambda: x @ w.T, "dx": lambda: dy @ w, "dw": lambda: dy.T @ x}[name.split("_")[1]], {}
    elif name.startswith("conv_"):
        _, shape, part = name.split("_")
        n, c, o, size, k, stride = workloads.CONVS[shape]
        for mode, layout in layouts.items():
            x = torch.randn(n, c, size, size).contiguous(memory_format=layout)
            w = torch.randn(o, c, k, k).contiguous(memory_format=layout)
            dy = torch.randn_like(F.conv2d(x, w, None, stride, k // 2)).contiguous(memory_format=layout)
            mask = [part == "dx", part == "dw", False]
            back = lambda: torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, [k // 2] * 2, [1, 1], False, [0, 0], 1, mask)
            yield mode, (lambda: F.conv2d(x, w, None, stride, k // 2)) if part == "fwd" else back, {}
    elif found := workloads.sized(name):
        yield from streams(*found)
    elif name == "memcpy":
        x = torch.randn(workloads.STREAMS[name][0])
        y = torch.empty_like(x)
        yield "plain", lambda: y.copy_(x), {}
    elif name.startswith("relu_chain"):
        a, b, c, d, e = (torch.randn(workloads.STREAMS[name][0]) for _ in range(5))
        yield "plain", lambda: torch.relu(a * b + c) * d - e * e, {}
    elif name == "softmax":
        x = torch.randn(4096, 1024)
        yield "plain", lambda: torch.softmax(x, 1), {}
    elif name == "layer_norm":
        x, w, b = torch.randn(4096, 1024), torch.randn(1024), torch.randn(1024)
        yield "plain", lambda: F.layer_norm(x, (1024,), w, b), {}


def streams(kind, sizes):
    """Yields (mode, call, state) for work of SIZED."""
    if kind == "batchnorm":
        n, c, size = sizes
        for mode, layout in {"plain": torch.contiguous_format, "channels_last": torch.channels_last}.items():
            x = torch.randn(n, c, size, size).contiguous(memory_format=layout).requires_grad_()
            upstream = torch.randn(n, c, size, size).contiguous(memory_format=layout)
            norm = nn.BatchNorm2d(c)
            yield mode, lambda: torch.autograd.grad(norm(x), [x, norm.weight, norm.bias], upstream), {}
    elif kind == "sum":
        n, m, axis = sizes
        x = torch.randn(n, m)
        yield "plain", lambda: x.sum(axis), {}
    elif kind.startswith("embedding"):
        words, width, n = sizes
        table, upstream = torch.randn(words, width), torch.randn(n, width)
        rows = torch.arange(n) * 7919 % words
        forward = lambda: F.embedding(rows, table)
        yield "plain", forward if kind == "embedding" else lambda: torch.ops.aten.embedding_dense_backward(upstream, rows, words, -1, False), {}
    elif kind == "crossentropy":
        n, classes = sizes
        logits, labels = torch.randn(n, classes).requires_grad_(), torch.arange(n) * 7919 % classes
        yield "plain", lambda: torch.autograd.grad(F.cross_entropy(logits, labels), logits), {}


def main():
    args = common.arguments()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    trains = args.workload.startswith(("w1", "w2", "w3", "resnet18", "gpt", "lstm", "batchnorm", "crossentropy")) and "_infer" not in args.workload
    ways = 4 if args.workload in ("w3", "resnet18") else 2 if trains or args.workload.startswith(("conv_", "w3_")) else 1 + args.workload.endswith(tuple(workloads.BEHIND))
    with torch.inference_mode(not trains):
        for mode, call, state in modes(args.workload, args):
            taken = common.samples(call, args.seconds / ways)
            common.report(args.workload, "pytorch", taken, mode=mode, version=torch.__version__, **state)


main()
