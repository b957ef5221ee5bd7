"""The workloads: their names, shapes, and the operations and bytes each one needs. README.md says what each measures.

One table for the orchestrator and for the Python peers; the Rust peers spell out the few they have.
"""

LAYERS = [(784, 256), (256, 128), (128, 10)]  # the MLP's dense layers, in × out
BATCH = 128
EXAMPLES = 60_000

# name: (batch, channels in, channels out, height = width, kernel, stride); padding is kernel // 2
CONVS = {
    "64x1x32x28": (64, 1, 32, 28, 3, 1),
    "64x32x64x14": (64, 32, 64, 14, 3, 1),
    "32x64x64x32": (32, 64, 64, 32, 3, 1),
    "32x64x128x32s2": (32, 64, 128, 32, 3, 2),
    "32x64x128x32k1s2": (32, 64, 128, 32, 1, 2),
    "32x128x128x16": (32, 128, 128, 16, 3, 1),
    "32x256x256x8": (32, 256, 256, 8, 3, 1),
    "32x512x512x4": (32, 512, 512, 4, 3, 1),
}
MATMULS = [256, 512, 1024, 2048]
# What may follow a product in the same kernel.
BEHIND = ["gelu", "residual", "adamw"]
STREAMS = {  # name: (elements, bytes that must move: each operand once in, each result once out)
    "memcpy": (1 << 24, 8 << 24),
    "relu_chain_1m": (1 << 20, 24 << 20),
    "relu_chain_16m": (1 << 24, 24 << 24),
    "softmax": (4096 * 1024, 8 * 4096 * 1024),
    "layer_norm": (4096 * 1024, 8 * 4096 * 1024),
}
SIZED = {  # kind: its sizes, which the names have too; and the bytes that must move in f32, as above
    # batch, channels, height = width; forward in training and all gradients
    "batchnorm": ([(32, 64, 32), (32, 256, 8)], lambda n, c, size: 16 * n * c * size * size),
    # rows, columns, summed axis
    "sum": ([(4096, 1024, 0), (4096, 1024, 1)], lambda n, m, axis: 4 * n * m),
    # words, width, rows taken
    "embedding": ([(50257, 768, 4096)], lambda words, width, n: 8 * n * width),
    "embeddinggrad": ([(50257, 768, 4096)], lambda words, width, n: 4 * (words + n) * width),
    # rows, classes; the loss and its gradient
    "crossentropy": ([(8192, 65), (512, 50257)], lambda n, classes: 8 * n * classes),
}
NETWORKS = {  # at 224 × 224: operations of one image
    "resnet18": 3.63e9,
    "resnet50": 8.18e9,
    "mobilenetv2": 0.60e9,
    "mobilenetv4": 0.37e9,
    "efficientnet": 0.77e9,
    "convnext": 8.91e9,
    "vit": 35.1e9,
    "deeplabv3": 63.6e9,
}


GPTS = {  # blocks, heads, width, characters of a sequence, sequences
    "gpt_small": (4, 4, 128, 64, 12),
    "gpt_large": (6, 6, 384, 256, 8),
}
CHARACTERS = 65
GENERATIONS = {  # kind of transformers' models, blocks, heads, heads of keys, width; a vocabulary of PIECES, 200 pieces behind a prompt of PROMPT
    "generate_llama_small": ("llama", 6, 6, 6, 384),
    "generate_gpt2_small": ("gpt2", 6, 6, 6, 384),
    "generate_llama_base": ("llama", 12, 12, 4, 768),
    "generate_gpt2_base": ("gpt2", 12, 12, 12, 768),
}
PIECES, PROMPT, GENERATED = 8192, 16, 200
LSTM = (32, 64, 128, 256)  # sequences, steps, numbers in, numbers of a state


def network(name):
    """The network and batch of a workload that runs an ONNX file, or None."""
    net, _, batch = name.partition("_onnx")
    return (net, int(batch)) if batch else None


def sized(name):
    """The kind and sizes of a workload of SIZED, or None."""
    kind, _, sizes = name.partition("_")
    return (kind, [int(size) for size in sizes.split("x")]) if kind in SIZED else None


def every():
    names = ["w1", "w2", "w3", "resnet18", *GPTS, "lstm", *GENERATIONS, "w1_infer1", "w1_infer256", "w3_infer1", "w3_infer256"]
    names += [f"{net}_onnx{batch}" for net in NETWORKS for batch in (1, 32)]
    names += [f"matmul_{n}" for n in MATMULS]
    names += [f"matmul_{n}_{behind}" for n in MATMULS for behind in BEHIND]
    names += [f"mlp{i}_{part}" for i in (1, 2, 3) for part in ("fwd", "dx", "dw")]
    names += [f"conv_{shape}_{part}" for shape in CONVS for part in ("fwd", "dx", "dw")]
    names += [f"{kind}_{'x'.join(map(str, sizes))}" for kind, (all, _) in SIZED.items() for sizes in all]
    return names + list(STREAMS)


def flop(name):
    """Multiplications and additions in one call, or None where they aren't the point."""
    dense = sum(2 * i * o for i, o in LAYERS)
    forward_w3 = 2 * (28 * 28 * 32 * 9 + 14 * 14 * 64 * 32 * 9 + 3136 * 128 + 128 * 10)
    if name in ("w1", "w2"):
        return EXAMPLES * (3 * dense - 2 * 784 * 256)
    if name == "w3":
        return 64 * (3 * forward_w3 - 2 * 28 * 28 * 32 * 9)
    if found := network(name):
        return found[1] * NETWORKS[found[0]]
    if "_infer" in name:
        model, batch = name.split("_infer")
        return int(batch) * (dense if model == "w1" else forward_w3)
    if name in GPTS:
        blocks, _, width, steps, batch = GPTS[name]
        # Each block has twelve squares of its width; scores and what is made of them are counted whole.
        forward = batch * steps * 2 * (blocks * (12 * width**2 + 2 * steps * width) + width * CHARACTERS)
        return 3 * forward
    if name == "lstm":
        batch, steps, inner, state = LSTM
        forward = batch * steps * 2 * (4 * state * (inner + state) + state * CHARACTERS)
        return 3 * forward - batch * steps * 2 * 4 * state * inner
    if name.startswith("matmul_"):
        return 2 * int(name.split("_")[1]) ** 3
    if name.startswith("mlp"):
        i, o = LAYERS[int(name[3]) - 1]
        return 2 * BATCH * i * o
    if name.startswith("conv_"):
        n, c, o, size, k, stride = CONVS[name.split("_")[1]]
        return 2 * n * o * (size // stride) ** 2 * c * k * k
    return 107_000_000_000 if name == "resnet18" else None


def bytes_moved(name):
    if found := sized(name):
        return SIZED[found[0]][1](*found[1])
    return STREAMS[name][1] if name in STREAMS else None


def items(name):
    """Examples in one call."""
    if name in ("w1", "w2"):
        return EXAMPLES
    if "_infer" in name:
        return int(name.split("_infer")[1])
    if found := network(name):
        return found[1]
    if name in GPTS:
        return GPTS[name][4]
    if name in GENERATIONS:
        return GENERATED
    return {"w3": 64, "resnet18": 32, "lstm": LSTM[0]}.get(name)
