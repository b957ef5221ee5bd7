"""Makes the folders beside this file: some of ../encoders as ONNX files with their tokenizers beside them.

    pip install torch transformers onnx onnxruntime; python make.py
"""

import json, pathlib, shutil, sys
import numpy, onnxruntime, torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoders"))
sys.argv = ["make.py", "check"]
import make as encoders


class Named(torch.nn.Module):
    """A model whose inputs stand in this order, and which gives one value."""

    def __init__(self, model, names, out):
        super().__init__()
        self.model, self.names, self.out = model, names, out

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs)))[self.out]


for name, out in (("bert", "last_hidden_state"), ("bert-classes", "logits"), ("distilbert-classes", "logits"), ("roberta-classes", "logits")):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = HERE.parent / "encoders" / name
    model = encoders.models[name][0].from_pretrained(source, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (model.config.model_type == "bert")
    row = torch.ones(2, 7, dtype=torch.int64)
    with torch.no_grad():
        axes = {own: {0: "batch", 1: "time"} for own in names + [out] * (out != "logits")} | ({out: {0: "batch"}} if out == "logits" else {})
        torch.onnx.export(Named(model, names, out), tuple(row for _ in names), str(folder / "model.onnx"), input_names=names, output_names=[out],
                          dynamic_axes=axes, opset_version=17, dynamo=False)
    for file in ("tokenizer.json", "config.json", "expected.json"):
        shutil.copy(source / file, folder / file)
    # ONNX Runtime gives what transformers does.
    expected = json.loads((folder / "expected.json").read_text())
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    for text in expected["texts"][:2]:
        codes = numpy.array([text["codes"]])
        inputs = {"input_ids": codes, "attention_mask": numpy.ones_like(codes), "token_type_ids": numpy.zeros_like(codes)}
        found = session.run(None, {own: inputs[own] for own in names})[0][0]
        wanted = numpy.array(text["said"] or text["embedding"])
        found = numpy.exp(found) / numpy.exp(found).sum() if text["said"] else found.mean(0)
        assert abs(found - wanted).max() < 1e-5, (name, found, wanted)
