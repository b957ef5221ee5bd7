"""Holds ONNX Runtime beside what kiln computed of sequences that come in parts: python onnx_steps.py FOLDER, with NAME.onnx and
NAME.safetensors in it. What a file gives to be kept goes back into it with the next part."""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

folder = pathlib.Path(sys.argv[1])
onnxruntime.set_default_logger_severity(3)
models = sorted(folder.glob("*.onnx"))
worst, faults = 0.0, []


def past_of(output):
    """The input that takes what an output gives."""
    return output.replace("present.", "past_key_values.") if output.startswith("present.") else output.replace("present", "past")


for path in models:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        cases = load_file(path.with_suffix(".safetensors"))
        for rows in sorted({name.split(".")[1] for name in cases}):
            given, length = {}, 0
            for port in session.get_inputs()[1:]:
                # Before the first step there are none, and states are zeros.
                sizes = [int(rows) if size == "batch" else 0 if isinstance(size, str) else size for size in port.shape]
                given[port.name] = np.zeros(sizes, np.float32)
            parts = sum(name.startswith(f"codes.{rows}.") for name in cases)
            for part in range(parts):
                codes, expected = cases[f"codes.{rows}.{part}"], cases[f"logits.{rows}.{part}"]
                if "past_length" in given:
                    given["past_length"] = np.full(int(rows), length, np.int64)
                results = session.run(None, {"input_ids": codes, **given})
                named = {port.name: value for port, value in zip(session.get_outputs(), results)}
                logits = named.pop("logits")
                if logits.shape != expected.shape:
                    raise ValueError(f"{logits.shape} for {expected.shape}")
                far = float(np.max(np.abs(logits - expected) / np.maximum(np.abs(expected), 1), initial=0))
                if not far < 1e-4:
                    raise ValueError(f"part {part} of {rows} rows: {far} away")
                worst, length = max(worst, far), length + codes.shape[1]
                given.update({past_of(name): value for name, value in named.items()})
    except Exception as error:
        faults.append(f"{path.stem}: {str(error)[:400]}")
for fault in faults:
    print(fault)
if len(models) < 20:
    faults.append("too few")
print(f"{len(models) - len(faults)} of {len(models)} files of next steps pass ONNX's checker and are the same in ONNX Runtime; the largest difference is {worst:.1e}")
sys.exit(1 if faults else 0)
