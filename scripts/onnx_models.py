"""Holds ONNX Runtime beside what kiln computed: python onnx_models.py FOLDER, with NAME.onnx and NAME.safetensors in it."""

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
for path in models:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        cases = load_file(path.with_suffix(".safetensors"))
        for name, x in cases.items():
            if not name.startswith("input."):
                continue
            expected = cases[name.replace("input", "output")]
            (y,) = session.run(None, {session.get_inputs()[0].name: x})
            if y.shape != expected.shape or y.dtype != expected.dtype:
                raise ValueError(f"{y.shape} {y.dtype} for {expected.shape} {expected.dtype}")
            far = float(np.max(np.abs(y - expected) / np.maximum(np.abs(expected), 1), initial=0))
            if not far < (2e-2 if "-half" in path.stem else 1e-4):
                raise ValueError(f"{name}: {far} away")
            if "-half" not in path.stem:
                worst = max(worst, far)
    except Exception as error:
        faults.append(f"{path.stem}: {str(error)[:400]}")
for fault in faults:
    print(fault)
print(f"{len(models) - len(faults)} of {len(models)} files pass ONNX's checker and are the same in ONNX Runtime; the largest difference is {worst:.1e}")
sys.exit(1 if faults else 0)
