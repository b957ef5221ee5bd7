"""Networks as people have them, with random weights: writes them as ONNX files and records what ONNX Runtime computes with them.

python zoo.py FOLDER [PART OF A NAME...]

Each gets FOLDER/NAME/model.onnx and FOLDER/NAME/test_data_set_0; what is there already is left alone. Needs torch, torchvision, timm,
transformers, onnxscript, onnxruntime, skl2onnx, onnxmltools, lightgbm, xgboost, onnxconverter-common, onnxsim and onnxslim.
"""

import logging
import os
import pathlib
import shutil
import sys
import tempfile
import traceback
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

onnxruntime.set_default_logger_severity(3)
# The fused layer of PyTorch can't be exported by the older way.
torch.backends.mha.set_fastpath_enabled(False)
folder, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
faults = []


def is_wanted(name):
    return (not wanted or any(part in name for part in wanted)) and not (folder / name / "test_data_set_0").exists()


def record(name, model, inputs, plain=False):
    """Keeps a model with what ONNX Runtime gives for these inputs; `plain` without rewriting it first, as quantised ones round anew then."""
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    path = own / "model.onnx"
    if isinstance(model, (str, pathlib.Path)):
        shutil.copy(model, path)
    else:
        onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ports = session.get_inputs()
    given = {port.name: np.asarray(value) for port, value in zip(ports, inputs)}
    outputs = session.run(None, given)
    data = own / "test_data_set_0.new"
    data.mkdir(exist_ok=True)
    for at, port in enumerate(ports):
        (data / f"input_{at}.pb").write_bytes(numpy_helper.from_array(given[port.name], port.name).SerializeToString())
    for at, (port, value) in enumerate(zip(session.get_outputs(), outputs)):
        if isinstance(value, list):
            # A sequence of maps from classes to probabilities, as ZipMap gives it, is recorded as rows.
            value = np.array([[row[key] for key in row] for row in value], np.float32) if value and isinstance(value[0], dict) else np.array(value)
        (data / f"output_{at}.pb").write_bytes(numpy_helper.from_array(value, port.name).SerializeToString())
    data.rename(own / "test_data_set_0")
    print(name, flush=True)


def make(name, build):
    if not is_wanted(name):
        return
    torch.manual_seed(7)
    try:
        build(name)
    except Exception as error:
        faults.append(name)
        if os.environ.get("ZOO_TRACE"):
            traceback.print_exc()
        print(f"{name}: can't be made: {str(error).splitlines()[0][:200] if str(error) else type(error)}", flush=True)


def randomised(module):
    """Statistics and scales that aren't zeros and ones, as after training, so that leaving one out shows."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.7, 1.4)
            if part.affine:
                nn.init.uniform_(part.weight, 0.7, 1.3)
                nn.init.normal_(part.bias, 0, 0.1)
        elif isinstance(part, nn.LayerNorm) and part.elementwise_affine:
            nn.init.uniform_(part.weight, 0.7, 1.3)
    return module.eval()


def torch_file(module, args, path, way, free=None, names=None):
    """Exports by a way: `ts17` is the older exporter with opset 17, `new` the newer one."""
    names = names or [f"x{at}" for at in range(len(args))]
    if way == "new":
        shapes = None
        if free:
            shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in free.get(name, {})} for name in names)
        torch.onnx.export(module, args, path, dynamo=True, dynamic_shapes=shapes, input_names=names, verbose=False, external_data=False)
    else:
        torch.onnx.export(module, args, path, dynamo=False, opset_version=int(way[2:]), dynamic_axes=free, input_names=names)


def network(name, build, ways=("ts17", "new"), free=None, other=None):
    """A module of torch, exported in several ways; `other` are inputs of other sizes to record with than those it is exported with."""
    for way in ways:

        def one(full, way=way):
            module, args = build()
            module = randomised(module)
            with tempfile.TemporaryDirectory() as place, torch.no_grad():
                path = os.path.join(place, "model.onnx")
                torch_file(module, args, path, way, free)
                record(full, path, [arg.numpy() for arg in (other or (lambda: args))()])

        make(f"{name}-{way}", one)


ALL = ("ts9", "ts11", "ts13", "ts17", "new")
image = lambda size=64, batch=2: (torch.randn(batch, 3, size, size),)


def vision():
    from torchvision import models

    free = {"x0": {0: "batch"}}
    small = {
        "alexnet": 224, "vgg11_bn": 224, "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "wide_resnet50_2": 32, "densenet121": 64,
        "squeezenet1_1": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "mobilenet_v3_large": 64, "shufflenet_v2_x1_0": 64,
        "mnasnet0_5": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64, "regnet_y_400mf": 64, "regnet_x_400mf": 64, "convnext_tiny": 64,
    }
    many = {"resnet18", "mobilenet_v3_small", "densenet121", "shufflenet_v2_x1_0", "efficientnet_b0"}
    for name, size in small.items():
        build = lambda name=name, size=size: (getattr(models, name)(weights=None, num_classes=10), image(size))
        network(name, build, ALL if name in many else ("ts13", "new"), free, lambda size=size: image(size, 3))
    for name in ("googlenet", "inception_v3"):
        build = lambda name=name: (
            getattr(models, name)(weights=None, num_classes=10, aux_logits=False, init_weights=True), image(96))
        network(name, build, ("ts11", "new"), free, lambda: image(96, 3))
    vit = lambda: (models.VisionTransformer(32, 8, 4, 4, 64, 128, num_classes=10), image(32))
    network("vit", vit, ("ts11", "ts17", "new"), free, lambda: image(32, 3))
    network("swin_t", lambda: (models.swin_t(weights=None, num_classes=10), image(64)), ("ts17", "new"))
    network("swin_v2_t", lambda: (models.swin_v2_t(weights=None, num_classes=10), image(64)), ("ts17", "new"))
    maxvit = lambda: (
        models.MaxVit(input_size=(64, 64), stem_channels=16, partition_size=2, block_channels=[16, 32], block_layers=[1, 1], head_dim=8,
                      stochastic_depth_prob=0.0, num_classes=10), image(64, 1))
    network("maxvit", maxvit, ("ts17", "new"))
    from torchvision.models import segmentation, video

    class Out(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x)["out"]

    for name in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        build = lambda name=name: (
            Out(getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5)), image(64, 1))
        sizes = {"x0": {0: "batch", 2: "height", 3: "width"}}
        network(name, build, ("ts11", "ts17"), sizes, lambda: image(96, 1))
        network(f"{name}-fixed", build, ("ts11", "new"))
    network("r3d_18", lambda: (video.r3d_18(weights=None, num_classes=10), (torch.randn(1, 3, 4, 32, 32),)), ("ts11", "new"))
    network("r2plus1d_18", lambda: (video.r2plus1d_18(weights=None, num_classes=10), (torch.randn(1, 3, 4, 32, 32),)), ("ts17",))


class UNet(nn.Module):
    def __init__(self, up):
        super().__init__()
        block = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())
        self.first, self.second, self.middle = block(3, 8), block(8, 16), block(16, 32)
        raise_ = (lambda a, b: nn.ConvTranspose2d(a, b, 2, stride=2)) if up == "transposed" else (
            lambda a, b: nn.Sequential(nn.Upsample(scale_factor=2, mode=up, align_corners=True if up == "bilinear" else None), nn.Conv2d(a, b, 1)))
        self.up2, self.up1 = raise_(32, 16), raise_(16, 8)
        self.third, self.fourth, self.out = block(32, 16), block(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.first(x)
        b = self.second(nn.functional.max_pool2d(a, 2))
        c = self.middle(nn.functional.max_pool2d(b, 2))
        c = self.up2(c)
        # Cut or padded to fit, as the usual code does for odd sizes.
        rows, columns = b.size(2) - c.size(2), b.size(3) - c.size(3)
        c = nn.functional.pad(c, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        b = self.third(torch.cat([b, c], 1))
        d = self.up1(b)
        d = nn.functional.interpolate(d, size=a.shape[2:], mode="nearest")
        return torch.sigmoid(self.out(self.fourth(torch.cat([a, d], 1))))


class Tagger(nn.Module):
    def __init__(self, cell, bidirectional=True, packed=False, first=True, layers=2):
        super().__init__()
        self.words = nn.Embedding(50, 12, padding_idx=0)
        self.cell = getattr(nn, cell)(12, 10, num_layers=layers, bidirectional=bidirectional, batch_first=first)
        self.out = nn.Linear(20 if bidirectional else 10, 5)
        self.packed, self.first = packed, first

    def forward(self, words, lengths=None):
        x = self.words(words)
        if self.packed:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=self.first, enforce_sorted=False)
        y, _ = self.cell(x)
        if self.packed:
            y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=self.first)
        return self.out(y)


class Gpt(nn.Module):
    def __init__(self, kept=False):
        super().__init__()
        self.words, self.places = nn.Embedding(60, 32), nn.Embedding(64, 32)
        self.layers = nn.ModuleList(nn.ModuleDict({
            "a": nn.LayerNorm(32), "qkv": nn.Linear(32, 96), "out": nn.Linear(32, 32), "b": nn.LayerNorm(32),
            "up": nn.Linear(32, 64), "down": nn.Linear(64, 32)}) for _ in range(3))
        self.norm, self.head, self.kept = nn.LayerNorm(32), nn.Linear(32, 60, bias=False), kept

    def forward(self, words, past=None):
        before = past.shape[4] if past is not None else 0
        batch, time = words.shape
        x = self.words(words) + self.places(torch.arange(before, before + time, device=words.device))
        fresh = []
        for at, layer in enumerate(self.layers):
            q, k, v = layer["qkv"](layer["a"](x)).view(batch, time, 3, 4, 8).permute(2, 0, 3, 1, 4)
            if past is not None:
                k, v = torch.cat([past[at, 0], k], 2), torch.cat([past[at, 1], v], 2)
                mask = torch.arange(before, before + time)[:, None] >= torch.arange(before + time)[None]
                y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
                fresh.append(torch.stack([k, v]))
            else:
                y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer["out"](y.transpose(1, 2).reshape(batch, time, 32))
            x = x + layer["down"](nn.functional.gelu(layer["up"](layer["b"](x)), approximate="tanh"))
        logits = self.head(self.norm(x))
        return (logits, torch.stack(fresh)) if past is not None else logits


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(40, 16)
        self.body = nn.Transformer(16, 4, 2, 2, 32, batch_first=True, dropout=0.0)
        self.out = nn.Linear(16, 40)

    def forward(self, source, target):
        mask = torch.triu(torch.full((target.shape[1], target.shape[1]), float("-inf")), 1)
        return self.out(self.body(self.words(source), self.words(target), tgt_mask=mask, src_key_padding_mask=source == 0))


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.cut = nn.Sequential(
            nn.Conv1d(1, 16, 10, stride=5, bias=False), nn.GroupNorm(16, 16), nn.GELU(), nn.Conv1d(16, 16, 3, stride=2), nn.GELU(),
            nn.Conv1d(16, 32, 3, stride=2), nn.GELU())
        self.places = nn.utils.parametrizations.weight_norm(nn.Conv1d(32, 32, 8, padding=4, groups=4), dim=2)
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(32, 30)

    def forward(self, wave):
        wave = (wave - wave.mean(-1, keepdim=True)) / (wave.std(-1, keepdim=True) + 1e-5)
        x = self.cut(wave.unsqueeze(1))
        x = x + nn.functional.gelu(self.places(x)[:, :, :-1])
        return self.out(self.body(x.transpose(1, 2))).log_softmax(-1)


class Detector(nn.Module):
    """The head of a one-stage detector: grids, boxes, scores and the best of them."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU())
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.heads = nn.ModuleList([nn.Conv2d(32, 3 * 9, 1), nn.Conv2d(64, 3 * 9, 1)])
        self.down = nn.Conv2d(32, 64, 3, 2, 1)

    def forward(self, x):
        a = self.body(x)
        a = a + self.pool(a)
        b = self.down(a)
        found = []
        for head, y, stride in zip(self.heads, (a, b), (4, 8)):
            y = head(y)
            batch, _, rows, columns = y.shape
            y = y.view(batch, 3, 9, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
            grid = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), -1).float()
            place, size, rest = y.split([2, 2, 5], -1)
            place = (place * 2 - 0.5 + grid) * stride
            found.append(torch.cat([place, (size * 2) ** 2 * stride, rest], -1).reshape(batch, -1, 9))
        all_ = torch.cat(found, 1)
        scores, kinds = (all_[..., 4:5] * all_[..., 5:]).max(-1)
        best = scores.topk(20, 1)
        boxes = all_[..., :4].gather(1, best.indices.unsqueeze(-1).expand(-1, -1, 4))
        return boxes, best.values, kinds.gather(1, best.indices)


class Odd(nn.Module):
    """Arithmetic on shapes, masks and indices of the kind that many exporters leave in a file."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randn(9, 4))
        self.inner = nn.Linear(4, 4)

    def forward(self, x, index):
        batch, time, width = x.shape
        window = torch.zeros(batch, (time + 3) // 4 * 4, width, dtype=x.dtype)
        window[:, :time] = x
        parts = window.view(batch, -1, 4, width)
        y = self.inner(parts).roll(1, 2) + self.table[index % 9][:, None, None]
        y = torch.where(y > 0, y, y.new_tensor(0.1) * y)
        places = torch.arange(time)
        near = (places[:, None] - places[None]).abs() <= 2
        z = torch.einsum("btd,bsd->bts", x, x).masked_fill(~near, -1e4).softmax(-1)
        chunks = torch.cat([part.mean(1, keepdim=True) for part in x.chunk(3, 1)], 1)
        return y.flatten(1, 2)[:, :time], z @ x, chunks, torch.cumsum(x, 1)[:, -1], x.norm(dim=-1), x.argmax(-1), x.repeat(1, 2, 1).std(1)


class Cells(nn.Module):
    """A cell of an LSTM stepped by hand, which a tracer unrolls."""

    def __init__(self, steps):
        super().__init__()
        self.cell, self.steps, self.out = nn.LSTMCell(6, 8), steps, nn.Linear(8, 3)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 8)
        for step in range(self.steps):
            h, c = self.cell(x[:, step], (h, c))
        return self.out(h)


class Scripted(nn.Module):
    """A loop whose count follows from a shape, kept as a loop by scripting."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 4)
        for step in range(x.shape[1]):
            h = torch.tanh(self.inner(h) + x[:, step])
            if step % 2 == 1:
                h = h * 0.5
        return h


class Listed(nn.Module):
    """As the one before, keeping each step in a list."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 4)
        kept = []
        for step in range(x.shape[1]):
            h = torch.tanh(self.inner(h) + x[:, step])
            kept.append(h)
        return torch.stack(kept, 1)


def own():
    free = {"x0": {0: "batch", 2: "height", 3: "width"}}
    for up in ("transposed", "nearest", "bilinear"):
        network(f"unet-{up}", lambda up=up: (UNet(up), image(32, 1)), ("ts11", "ts17", "new"), free, lambda: (torch.randn(2, 3, 40, 56),))
        network(f"unet-{up}-fixed", lambda up=up: (UNet(up), image(32, 1)), ("ts9", "ts11", "new"))
    for cell in ("LSTM", "GRU", "RNN"):
        words = lambda time=7, batch=2: (torch.randint(1, 50, (batch, time)),)
        free = {"x0": {0: "batch", 1: "time"}}
        ways = ALL if cell == "LSTM" else ("ts9", "ts17", "new")
        network(f"tagger-{cell}", lambda cell=cell: (Tagger(cell), words()), ways, free, lambda: words(11, 3))
        network(f"tagger-{cell}-fixed", lambda cell=cell: (Tagger(cell, False), words()), ("ts11", "new"))
        packed = lambda cell=cell: (Tagger(cell, True, True), (*words(), torch.tensor([7, 4])))
        network(f"tagger-{cell}-packed", packed, ("ts11", "ts17"), {"x0": {0: "batch", 1: "time"}, "x1": {0: "batch"}},
                lambda: (torch.randint(1, 50, (3, 9)), torch.tensor([9, 3, 6])))
    words = lambda time=9, batch=2: (torch.randint(0, 60, (batch, time)),)
    network("gpt", lambda: (Gpt(), words()), ("ts14", "ts17", "new"), {"x0": {0: "batch", 1: "time"}}, lambda: words(13, 3))
    network("gpt-fixed", lambda: (Gpt(), words()), ("ts14", "new"))
    network("gpt-cached", lambda: (Gpt(True), (*words(3), torch.randn(3, 2, 2, 4, 5, 8))), ("ts17", "new"),
            {"x0": {0: "batch", 1: "time"}, "x1": {2: "batch", 4: "past"}}, lambda: (*words(1, 3), torch.randn(3, 2, 3, 4, 7, 8)))
    pairs = lambda a=6, b=5: (torch.randint(1, 40, (2, a)), torch.randint(1, 40, (2, b)))
    network("translator", lambda: (Translator(), pairs()), ("ts14", "ts17", "new"))
    network("translator-free", lambda: (Translator(), pairs()), ("ts17",), {"x0": {1: "from"}, "x1": {1: "to"}})
    encoder = lambda: (nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False), (torch.randn(2, 6, 16),))
    # Attention of PyTorch keeps the sizes it was traced with, so it is recorded with the same.
    network("encoder", encoder, ("ts14", "ts17", "new"), {"x0": {0: "batch", 1: "time"}})
    network("speech", lambda: (Speech(), (torch.randn(2, 800),)), ("ts14", "ts17", "new"), {"x0": {0: "batch"}})
    auto = lambda: (nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 49, 10), nn.Linear(10, 16 * 49),
        nn.Unflatten(1, (16, 7, 7)), nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ELU(), nn.ConvTranspose2d(8, 1, 3, 2, 1, 1), nn.Sigmoid()),
        (torch.randn(2, 1, 28, 28),))
    network("autoencoder", auto, ALL, {"x0": {0: "batch"}}, lambda: (torch.randn(3, 1, 28, 28),))
    gan = lambda: (nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 16, 3, 2, 1, 1, groups=4), nn.InstanceNorm2d(16, affine=True), nn.PReLU(16),
        nn.ReflectionPad2d(1), nn.Conv2d(16, 12, 3), nn.PixelShuffle(2), nn.Tanh()), (torch.randn(2, 16, 1, 1),))
    network("gan", gan, ("ts11", "ts17", "new"), {"x0": {0: "batch"}}, lambda: (torch.randn(3, 16, 1, 1),))
    network("detector", lambda: (Detector(), image(64, 1)), ("ts11", "ts17", "new"))
    network("detector-free", lambda: (Detector(), image(64, 1)), ("ts17",), {"x0": {0: "batch", 2: "height", 3: "width"}}, lambda: image(96, 2))
    odd = lambda time=10: (torch.randn(2, time, 4), torch.tensor([3, 20]))
    network("odd", lambda: (Odd(), odd()), ("ts13", "ts17", "new"), {"x0": {0: "batch", 1: "time"}, "x1": {0: "batch"}}, lambda: odd(15))
    network("odd-fixed", lambda: (Odd(), odd()), ("ts12", "new"))
    network("cells", lambda: (Cells(24), (torch.randn(2, 24, 6),)), ("ts11", "new"))
    network("cells-long", lambda: (Cells(200), (torch.randn(2, 200, 6),)), ("ts17",))
    for name, module in (("scripted", Scripted), ("listed", Listed)):
        script = lambda module=module: (torch.jit.script(module()), (torch.randn(2, 5, 4),))
        network(name, script, ("ts11", "ts17"), {"x0": {0: "batch", 1: "time"}}, lambda: (torch.randn(3, 7, 4),))


def hub():
    """Architectures of timm and transformers, small."""
    import timm
    import transformers

    for name in ("vit_tiny_patch16_224", "deit_tiny_patch16_224", "convnextv2_atto", "mobilevit_xxs", "mixer_s32_224", "ghostnet_050",
                 "hrnet_w18_small", "repvgg_a0", "edgenext_xx_small", "poolformerv2_s12", "efficientformer_l1", "nf_resnet26", "res2net50_14w_8s",
                 "resnest14d", "cspresnet50", "dla34", "lcnet_050", "tinynet_e", "fastvit_t8", "coat_tiny", "volo_d1_224", "xcit_nano_12_p16_224"):

        def build(name=name):
            size = {"img_size": 64} if any(part in name for part in ("vit_tiny", "deit", "coat", "volo", "xcit")) and "fastvit" not in name else {}
            size = {"img_size": 64, **({} if "mixer" not in name else {})} if "mixer" in name else size
            pixels = 224 if name.startswith("efficientformer") else 64
            return timm.create_model(name, pretrained=False, num_classes=10, **size), image(pixels, 1)

        network(f"timm-{name}", build, ("ts17",) if len(name) % 2 else ("new",))

    class Only(nn.Module):
        def __init__(self, body, names):
            super().__init__()
            self.body, self.names = body, names

        def forward(self, x0, x1=None):
            out = self.body(**{name: x for name, x in zip(self.names, (x0, x1)) if x is not None}, return_dict=True)
            return out.logits if hasattr(out, "logits") else out.last_hidden_state

    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=60, max_position_embeddings=64)
    words = lambda batch=2, time=9: (torch.randint(3, 60, (batch, time)), torch.ones(batch, time, dtype=torch.int64))
    free = {"x0": {0: "batch", 1: "time"}, "x1": {0: "batch", 1: "time"}}
    kinds = {
        "bert": ("BertConfig", "BertForSequenceClassification", sizes),
        "roberta": ("RobertaConfig", "RobertaForTokenClassification", sizes | {"pad_token_id": 1}),
        "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", dict(dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=60, max_position_embeddings=64)),
        "albert": ("AlbertConfig", "AlbertModel", sizes | {"embedding_size": 16}),
        "electra": ("ElectraConfig", "ElectraModel", sizes | {"embedding_size": 16}),
        "deberta": ("DebertaV2Config", "DebertaV2Model", sizes | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}),
        "mpnet": ("MPNetConfig", "MPNetModel", sizes),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel", dict(n_embd=32, n_layer=2, n_head=4, vocab_size=60, n_positions=64, use_cache=False)),
        "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", sizes | {"use_cache": False}),
        "llama": ("LlamaConfig", "LlamaForCausalLM", sizes | {"num_key_value_heads": 2, "use_cache": False}),
        "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", sizes | {"num_key_value_heads": 2, "head_dim": 8, "use_cache": False}),
        "phi": ("PhiConfig", "PhiForCausalLM", sizes | {"use_cache": False}),
        "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", sizes | {"num_key_value_heads": 2, "head_dim": 8, "use_cache": False}),
        "t5_encoder": ("T5Config", "T5EncoderModel", dict(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=60)),
    }
    for name, (config, kind, settings) in kinds.items():
        build = lambda config=config, kind=kind, settings=settings: (
            Only(getattr(transformers, kind)(getattr(transformers, config)(**settings)), ["input_ids", "attention_mask"]), words())
        network(name, build, ("ts17", "new"), free, lambda: words(3, 12))
    pictures = {
        "clip_vision": ("CLIPVisionConfig", "CLIPVisionModel", dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)),
        "segformer": ("SegformerConfig", "SegformerForSemanticSegmentation", dict(hidden_sizes=[16, 16, 32, 32], decoder_hidden_size=32, depths=[1, 1, 1, 1])),
        "dinov2": ("Dinov2Config", "Dinov2Model", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)),
    }
    for name, (config, kind, settings) in pictures.items():
        build = lambda config=config, kind=kind, settings=settings: (
            Only(getattr(transformers, kind)(getattr(transformers, config)(**settings)), ["pixel_values"]), image(32, 1))
        network(name, build, ("ts17", "new"))
    whisper = dict(d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, num_mel_bins=8, max_source_positions=20, decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=64, vocab_size=60)
    network("whisper", lambda: (
        Only(transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**whisper, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, use_cache=False)),
             ["input_features", "decoder_input_ids"]), (torch.randn(1, 8, 40), torch.randint(3, 60, (1, 5)))), ("ts17", "new"))
    network("wav2vec2", lambda: (
        Only(transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=30,
             conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)), ["input_values"]), (torch.randn(1, 4000),)), ("ts17", "new"),
        {"x0": {0: "batch", 1: "time"}}, lambda: (torch.randn(2, 5000),))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.c = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.a(x)))
        x = nn.functional.max_pool2d(x + nn.functional.hardswish(self.c(self.b(x))), 2)
        x = torch.cat([x, torch.sigmoid(x)], 2)
        x = nn.functional.leaky_relu(nn.functional.avg_pool2d(x, 2), 0.1)
        return self.out(x.mean((2, 3)))


def kept(module, args, way="ts17", free=None):
    """A module as a message."""
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        path = os.path.join(place, "model.onnx")
        torch_file(randomised(module), args, path, way, free)
        return onnx.load(path)


def rewritten():
    """Files that other tools have worked on."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    from torchvision import models

    from onnxruntime.transformers import optimizer as fuser

    words = torch.randint(1, 60, (2, 9))
    bases = {
        "small": lambda: (Small(), image(16, 2)),
        "resnet18": lambda: (models.resnet18(weights=None, num_classes=10), image(64, 2)),
        "mobilenet_v2": lambda: (models.mobilenet_v2(weights=None, num_classes=10), image(64, 2)),
        "gpt": lambda: (Gpt(), (words,)),
        "encoder": lambda: (nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False), (torch.randn(2, 6, 16),)),
        "tagger": lambda: (Tagger("LSTM"), (torch.randint(1, 50, (2, 7)),)),
        "translator": lambda: (Translator(), (torch.randint(1, 40, (2, 6)), torch.randint(1, 40, (2, 5)))),
    }

    class Reader(CalibrationDataReader):
        def __init__(self, args):
            self.left = [{f"x{at}": arg.numpy() for at, arg in enumerate(args)}]

        def get_next(self):
            return self.left.pop() if self.left else None

    def static(base, kind, **settings):
        def one(full):
            module, args = bases[base]()
            with tempfile.TemporaryDirectory() as place:
                a, b = os.path.join(place, "a.onnx"), os.path.join(place, "b.onnx")
                onnx.save(kept(module, args), a)
                quant_pre_process(a, a, skip_symbolic_shape=True)
                quantize_static(a, b, Reader(args), quant_format=kind, **settings)
                record(full, b, [arg.numpy() for arg in args], plain=True)

        return one

    # Not the one with a causal mask: its infinities make infinite scales.
    for base in ("small", "resnet18", "mobilenet_v2", "encoder"):
        make(f"{base}-qdq", static(base, QuantFormat.QDQ))
        make(f"{base}-qoperator", static(base, QuantFormat.QOperator))
        make(f"{base}-qdq-channels-i8", static(base, QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QInt8))
    make("small-qoperator-i8", static("small", QuantFormat.QOperator, activation_type=QuantType.QInt8, per_channel=True))
    make("small-qdq-u16", static("small", QuantFormat.QDQ, activation_type=QuantType.QUInt16, extra_options={"UseQDQContribOps": True}))

    def dynamic(base):
        def one(full):
            module, args = bases[base]()
            with tempfile.TemporaryDirectory() as place:
                a, b = os.path.join(place, "a.onnx"), os.path.join(place, "b.onnx")
                onnx.save(kept(module, args), a)
                # On processors without certain instructions ONNX Runtime's sums of eight bits saturate; those of seven don't.
                quantize_dynamic(a, b, reduce_range=True)
                record(full, b, [arg.numpy() for arg in args], plain=True)

        return one

    def optimised(base, level, before=None, way="ts17"):
        """What ONNX Runtime writes when asked to keep its rewritten graph."""

        def one(full):
            module, args = bases[base]()
            with tempfile.TemporaryDirectory() as place:
                a, b = os.path.join(place, "a.onnx"), os.path.join(place, "b.onnx")
                onnx.save(kept(module, args, way), a)
                if before:
                    before(a)
                options = onnxruntime.SessionOptions()
                options.graph_optimization_level = level
                options.optimized_model_filepath = b
                onnxruntime.InferenceSession(a, options, providers=["CPUExecutionProvider"])
                record(full, b, [arg.numpy() for arg in args], plain=True)

        return one

    levels = onnxruntime.GraphOptimizationLevel
    for base in bases:
        if base not in ("small", "resnet18", "mobilenet_v2"):
            make(f"{base}-dynamic", dynamic(base))
        make(f"{base}-ort-basic", optimised(base, levels.ORT_ENABLE_BASIC))
        make(f"{base}-ort-extended", optimised(base, levels.ORT_ENABLE_EXTENDED))
        make(f"{base}-ort-extended-new", optimised(base, levels.ORT_ENABLE_EXTENDED, way="new"))
    quantised = lambda path: quantize_dynamic(path, path, reduce_range=True)
    make("encoder-ort-dynamic-extended", optimised("encoder", levels.ORT_ENABLE_EXTENDED, quantised))
    make("tagger-ort-dynamic-extended", optimised("tagger", levels.ORT_ENABLE_EXTENDED, quantised))

    def qdq(path):
        quantize_static(path, path, Reader(bases["small"]()[1]), quant_format=QuantFormat.QDQ, reduce_range=True)

    make("small-ort-qdq-extended", optimised("small", levels.ORT_ENABLE_EXTENDED, lambda path: (torch.manual_seed(7), qdq(path))))

    def simplified(base, how):
        def one(full):
            module, args = bases[base]()
            model = kept(module, args)
            if how == "slim":
                import onnxslim

                model = onnxslim.slim(model)
            else:
                import onnxsim

                model, _ = onnxsim.simplify(model)
            record(full, model, [arg.numpy() for arg in args])

        return one

    for base in ("gpt", "tagger", "translator", "mobilenet_v2"):
        make(f"{base}-slim", simplified(base, "slim"))
        make(f"{base}-simplified", simplified(base, "sim"))

    def halved(base, keep):
        def one(full):
            from onnxconverter_common import float16

            module, args = bases[base]()
            model = float16.convert_float_to_float16(kept(module, args), keep_io_types=keep)
            args = [arg.numpy() for arg in args]
            record(full, model, args if keep else [arg.astype(np.float16) if arg.dtype == np.float32 else arg for arg in args])

        return one

    # Not attention: the converter leaves types that don't fit.
    for base in ("small", "resnet18", "mobilenet_v2", "tagger"):
        make(f"{base}-half", halved(base, False))
        make(f"{base}-half-inside", halved(base, True))

    def fused(kind):
        """The fusing of onnxruntime's own tool for transformers: attention, embedding, skip and norm as one node each."""

        def one(full):
            import transformers

            sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=60, max_position_embeddings=64)
            if kind == "bert":
                body = transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation="eager"))
            else:
                body = transformers.GPT2Model(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=60, n_positions=64, use_cache=False, attn_implementation="eager"))

            class Only(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = body

                def forward(self, words, mask):
                    return self.body(input_ids=words, attention_mask=mask).last_hidden_state

            args = (words, torch.ones(2, 9, dtype=torch.int64))
            with tempfile.TemporaryDirectory() as place:
                a, b = os.path.join(place, "a.onnx"), os.path.join(place, "b.onnx")
                onnx.save(kept(Only(), args, "ts14", {"x0": {0: "b", 1: "t"}, "x1": {0: "b", 1: "t"}}), a)
                fuser.optimize_model(a, model_type=kind, num_heads=4, hidden_size=32).save_model_to_file(b)
                record(full, b, [arg.numpy() for arg in args], plain=True)

        return one

    make("bert-fused", fused("bert"))
    make("gpt2-fused", fused("gpt2"))


def tables():
    """What scikit-learn, LightGBM and XGBoost learn, by their converters."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn import (cluster, compose, decomposition, discriminant_analysis, ensemble, feature_selection, impute, isotonic, linear_model, mixture,
                         naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree)

    random = np.random.default_rng(7)
    x = random.normal(size=(200, 6)).astype(np.float32)
    score = x @ random.normal(size=6) + np.sin(3 * x[:, 0])
    two, three = (score > 0).astype(np.int64), np.digitize(score, [-1, 1]).astype(np.int64)
    words = np.array(["low", "middle", "high"])[three]
    fresh = random.normal(size=(20, 6)).astype(np.float32)
    classifiers = {
        "logistic": linear_model.LogisticRegression(), "tree": tree.DecisionTreeClassifier(max_depth=6),
        "forest": ensemble.RandomForestClassifier(12, max_depth=6, random_state=1), "extra": ensemble.ExtraTreesClassifier(8, random_state=1),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=10, random_state=1),
        "ada": ensemble.AdaBoostClassifier(n_estimators=5),
        "bagging": ensemble.BaggingClassifier(n_estimators=4, random_state=1),
        "svc": svm.SVC(probability=True, random_state=1), "linear_svc": svm.LinearSVC(), "svc_poly": svm.SVC(kernel="poly"), "nu_svc": svm.NuSVC(),
        "sgd": linear_model.SGDClassifier(loss="log_loss", random_state=1), "bayes": naive_bayes.GaussianNB(), "neighbours": neighbors.KNeighborsClassifier(),
        "perceptron": neural_network.MLPClassifier((8,), max_iter=50, random_state=1), "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "voting": ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False),
        "stacking": ensemble.StackingClassifier([("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=3))]),
    }
    regressors = {
        "linear": linear_model.LinearRegression(), "ridge": linear_model.Ridge(), "lasso": linear_model.Lasso(0.1), "tree": tree.DecisionTreeRegressor(max_depth=6),
        "forest": ensemble.RandomForestRegressor(12, max_depth=6, random_state=1), "boosting": ensemble.GradientBoostingRegressor(n_estimators=10),
        "svr": svm.SVR(), "neighbours": neighbors.KNeighborsRegressor(),
        "perceptron": neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, random_state=1), "poisson": linear_model.PoissonRegressor(),
        "ada": ensemble.AdaBoostRegressor(n_estimators=4, random_state=1),
    }
    transformers = {
        "standard": preprocessing.StandardScaler(), "minmax": preprocessing.MinMaxScaler(), "robust": preprocessing.RobustScaler(), "maxabs": preprocessing.MaxAbsScaler(),
        "normalizer": preprocessing.Normalizer("l1"), "binarizer": preprocessing.Binarizer(), "polynomial": preprocessing.PolynomialFeatures(2),
        "bins": preprocessing.KBinsDiscretizer(4, encode="ordinal"), "quantiles": preprocessing.QuantileTransformer(n_quantiles=20), "power": preprocessing.PowerTransformer(),
        "pca": decomposition.PCA(3), "svd": decomposition.TruncatedSVD(3), "imputer": impute.SimpleImputer(), "select": feature_selection.SelectKBest(k=3),
        "kmeans": cluster.KMeans(3, n_init=1), "mixture": mixture.GaussianMixture(2), "isolation": ensemble.IsolationForest(n_estimators=10, random_state=1),
        "outlier": svm.OneClassSVM(),
    }
    free = [("x", FloatTensorType([None, 6]))]

    def fitted(model, y, options=None, classes=False):
        def one(full):
            model.fit(x, y) if y is not None else model.fit(x)
            svc = isinstance(model, svm.LinearSVC)
            chosen = {id(model): {"zipmap": False}} if classes and options is None and not svc else options
            record(full, skl2onnx.convert_sklearn(model, initial_types=free, target_opset={"": 17, "ai.onnx.ml": 3}, options=chosen), [fresh])

        return one

    for name, model in classifiers.items():
        for kind, y in (("two", two), ("three", three), ("words", words)):
            if kind == "two" or name not in ("nu_svc",):
                make(f"skl-{name}-{kind}", fitted(model, y, classes=True))
    for name in ("logistic", "forest"):
        make(f"skl-{name}-zipmap", fitted(classifiers[name], words, {}))
        make(f"skl-{name}-zipmap-two", fitted(classifiers[name], two, {}))
        make(f"skl-{name}-columns", fitted(classifiers[name], words, {id(classifiers[name]): {"zipmap": "columns"}}))
    for name, model in regressors.items():
        make(f"skl-{name}-number", fitted(model, np.abs(score) if name == "poisson" else score))
    for name, model in transformers.items():
        make(f"skl-{name}", fitted(model, three if name == "select" else None))

    def newer(full):
        """Trees by the operator of version 5, as newer converters write them."""
        model = ensemble.RandomForestRegressor(6, max_depth=5, random_state=1).fit(x, score)
        record(full, skl2onnx.convert_sklearn(model, initial_types=free, target_opset={"": 21, "ai.onnx.ml": 5}), [fresh])

    make("skl-forest-ml5", newer)

    def columns(full):
        import pandas as pd

        frame = pd.DataFrame({"age": x[:, 0], "fare": x[:, 1], "town": np.array(["a", "b", "c"])[random.integers(0, 3, 200)], "rooms": random.integers(0, 4, 200)})
        steps = compose.ColumnTransformer([
            ("numbers", pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler()), ["age", "fare"]),
            ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["town"]), ("order", preprocessing.OrdinalEncoder(), ["rooms"])])
        model = pipeline.make_pipeline(steps, ensemble.GradientBoostingClassifier(n_estimators=5)).fit(frame, words)
        types = [("age", FloatTensorType([None, 1])), ("fare", FloatTensorType([None, 1])), ("town", StringTensorType([None, 1])), ("rooms", Int64TensorType([None, 1]))]
        file = skl2onnx.convert_sklearn(model, initial_types=types, target_opset={"": 17, "ai.onnx.ml": 3}, options={id(model): {"zipmap": False}})
        rows = frame.iloc[:20]
        record(full, file, [rows[name].to_numpy().reshape(-1, 1).astype(kind) for name, kind in (("age", np.float32), ("fare", np.float32), ("town", object), ("rooms", np.int64))])

    make("skl-columns", columns)

    def boosted(library, task):
        def one(full):
            import onnxmltools
            from onnxmltools.convert.common.data_types import FloatTensorType as Floats

            y = {"two": two, "three": three, "number": score}[task]
            if library == "lightgbm":
                import lightgbm

                model = (lightgbm.LGBMRegressor if task == "number" else lightgbm.LGBMClassifier)(n_estimators=8, num_leaves=9, verbose=-1).fit(x, y)
                file = onnxmltools.convert_lightgbm(model, initial_types=[("x", Floats([None, 6]))], target_opset=15, zipmap=False)
            else:
                import xgboost

                model = (xgboost.XGBRegressor if task == "number" else xgboost.XGBClassifier)(n_estimators=8, max_depth=4).fit(x, y)
                file = onnxmltools.convert_xgboost(model, initial_types=[("x", Floats([None, 6]))], target_opset=15)
            record(full, file, [fresh])

        return one

    for library in ("lightgbm", "xgboost"):
        for task in ("two", "three", "number"):
            make(f"{library}-{task}", boosted(library, task))


for part in (own, tables, rewritten, hub, vision):
    try:
        part()
    except Exception as error:
        faults.append(part.__name__)
        print(f"the rest of {part.__name__} is left out: {error}", flush=True)
print(f"{len(list(folder.iterdir()))} networks in {folder}; {len(faults)} can't be made")
