"""Makes the folders beside this file: tiny random transformers of pictures as transformers writes them, and what it computes with them.

    pip install torch transformers pillow; python make.py

`python make.py check FOLDER ...` loads folders that kiln wrote of them, each under the name of the one it was, and compares.
"""

import json, pathlib, sys
import numpy, torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent))
from kept import gradients, numbers, save, stirred, wave

small = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)
three = dict(id2label={0: "cat", 1: "tabby, striped", 2: "dog"}, label2id={"cat": 0, "tabby, striped": 1, "dog": 2})
models = {
    "vit": (ViTModel, ViTConfig(**small, image_size=8, patch_size=4)),
    "vit-classes": (ViTForImageClassification, ViTConfig(**small, **three, image_size=8, patch_size=4, hidden_act="gelu_new")),
    "vit-grey": (ViTForImageClassification, ViTConfig(**small, image_size=6, patch_size=3, num_channels=1, qkv_bias=False)),
}


# Names in memory that files have otherwise.
FILED = [("layers.", "encoder.layer."), (".q_proj.", ".attention.query."), (".k_proj.", ".attention.key."), (".v_proj.", ".attention.value."),
         (".o_proj.", ".output.dense."), (".mlp.fc1.", ".intermediate.dense."), (".mlp.fc2.", ".output.dense.")]


def filed(name):
    for here, there in FILED:
        name = name.replace(here, there)
    return name


def outputs(model, pixels):
    found = model(pixel_values=pixels)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


def make(name):
    kind, config = models[name]
    torch.manual_seed(1)
    model = stirred(kind(config), len(name))
    pixels = torch.randn(2, config.num_channels, config.image_size, config.image_size)
    out = outputs(model, pixels)
    expected = dict(pixels=numbers(pixels), pixels_shape=list(pixels.shape), shape=list(out.shape), out=numbers(out),
                    gradients=gradients(model, (out * wave(out)).sum(), filed))
    mean = [0.5, 0.4, 0.3][:config.num_channels]
    std = [0.5, 0.25, 0.2][:config.num_channels]
    processor = ViTImageProcessor(size=dict(height=config.image_size, width=config.image_size), image_mean=mean, image_std=std)
    pictures = {}
    if kind is ViTForImageClassification:
        shades = numpy.random.default_rng(7)
        for height, width in ((config.image_size, config.image_size), (21, 30)):
            shape = (height, width, 3) if config.num_channels == 3 else (height, width)
            # Smooth, as pictures are.
            at = numpy.add.outer(numpy.arange(height) * 9, numpy.arange(width) * 5)
            shade = at[..., None] * numpy.array([1, 2, 3])[None, None] if len(shape) == 3 else at
            picture = Image.fromarray(((shade + shades.integers(0, 20, shape)) % 256).astype(numpy.uint8))
            taken = torch.tensor(numpy.asarray(processor(picture if len(shape) == 3 else numpy.asarray(picture)[..., None], return_tensors="np",
                                                         input_data_format="channels_last").pixel_values))
            with torch.no_grad():
                pictures[f"{height}x{width}.png"] = (picture, numbers(outputs(model, taken).softmax(-1)))
    expected["pictures"] = {file: said for file, (_, said) in pictures.items()}
    save(model, HERE / name, expected)
    processor.save_pretrained(HERE / name)
    for file, (picture, _) in pictures.items():
        picture.save(HERE / name / file)


def check(folder):
    folder = pathlib.Path(folder)
    expected = json.loads((HERE / folder.name / "expected.json").read_text())
    model, info = models[folder.name][0].from_pretrained(folder, output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    pixels = torch.tensor(expected["pixels"]).reshape(expected["pixels_shape"])
    with torch.no_grad():
        far = (outputs(model.eval(), pixels).flatten() - torch.tensor(expected["out"])).abs().max().item()
    print(f"{folder.name}: {far:.1e}")
    assert far < 1e-5, far


if sys.argv[1:2] == ["check"]:
    for folder in sys.argv[2:]:
        check(folder)
else:
    for name in models:
        make(name)
