"""ONNX Runtime's side of the bench: inference, and the operations that it has, from graphs made here with onnx.helper."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import common
import workloads

random = np.random.default_rng(1)


def weight(name, *shape):
    return onnx.numpy_helper.from_array((random.standard_normal(shape) * 0.05).astype(np.float32), name)


def mlp(batch):
    nodes, weights, last = [], [], "x"
    for n, (i, o) in enumerate(workloads.LAYERS, 1):
        weights += [weight(f"w{n}", o, i), weight(f"b{n}", o)]
        nodes.append(helper.make_node("Gemm", [last, f"w{n}", f"b{n}"], [f"y{n}"], transB=1))
        last = f"y{n}"
        if n < 3:
            nodes.append(helper.make_node("Relu", [last], [f"r{n}"]))
            last = f"r{n}"
    return nodes, weights, last, (batch, 784), (batch, 10)


def cnn(batch):
    nodes, weights, last = [], [], "x"
    for n, (i, o) in enumerate([(1, 32), (32, 64)], 1):
        weights += [weight(f"k{n}", o, i, 3, 3), weight(f"c{n}", o)]
        nodes.append(helper.make_node("Conv", [last, f"k{n}", f"c{n}"], [f"a{n}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"a{n}"], [f"e{n}"]))
        nodes.append(helper.make_node("MaxPool", [f"e{n}"], [f"p{n}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"p{n}"
    nodes.append(helper.make_node("Flatten", [last], ["f"]))
    weights += [weight("w3", 128, 3136), weight("b3", 128), weight("w4", 10, 128), weight("b4", 10)]
    nodes.append(helper.make_node("Gemm", ["f", "w3", "b3"], ["y3"], transB=1))
    nodes.append(helper.make_node("Relu", ["y3"], ["r3"]))
    nodes.append(helper.make_node("Gemm", ["r3", "w4", "b4"], ["y4"], transB=1))
    return nodes, weights, "y4", (batch, 1, 28, 28), (batch, 10)


def graph(name):
    if "_infer" in name:
        kind, batch = name.split("_infer")
        return (mlp if kind == "w1" else cnn)(int(batch))
    if name == "softmax":
        return [helper.make_node("Softmax", ["x"], ["y"], axis=1)], [], "y", (4096, 1024), (4096, 1024)
    if name == "layer_norm":
        node = helper.make_node("LayerNormalization", ["x", "w", "b"], ["y"], axis=1, epsilon=1e-5)
        return [node], [weight("w", 1024), weight("b", 1024)], "y", (4096, 1024), (4096, 1024)
    kind, sizes = workloads.sized(name) or (None, [])
    if kind == "sum":
        n, m, axis = sizes
        node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
        axes = onnx.numpy_helper.from_array(np.array([axis], np.int64), "axes")
        return [node], [axes], "y", (n, m), (m if axis == 0 else n,)
    if kind == "embedding":
        words, width, n = sizes
        rows = onnx.numpy_helper.from_array(np.arange(n) * 7919 % words, "rows")
        return [helper.make_node("Gather", ["x", "rows"], ["y"])], [rows], "y", (words, width), (n, width)
    if name.startswith("matmul_"):
        _, n, *behind = name.split("_")
        n, product = int(n), helper.make_node("MatMul", ["x", "w"], ["y"])
        if behind == []:
            return [product], [weight("w", n, n)], "y", (n, n), (n, n)
        if behind == ["residual"]:
            return [product, helper.make_node("Add", ["y", "x"], ["z"])], [weight("w", n, n)], "z", (n, n), (n, n)
        if behind == ["gelu"]:
            return [product, helper.make_node("Gelu", ["y"], ["z"])], [weight("w", n, n)], "z", (n, n), (n, n)
        return None
    if name.startswith("conv_") and name.endswith("_fwd"):
        n, c, o, size, k, stride = workloads.CONVS[name.split("_")[1]]
        node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[k, k], pads=[k // 2] * 4, strides=[stride] * 2)
        return [node], [weight("w", o, c, k, k)], "y", (n, c, size, size), (n, o, size // stride, size // stride)
    return None


def main():
    args = common.arguments()
    if found := workloads.network(args.workload):
        name, batch = found
        x = np.fromfile(args.data / f"{name}_{batch}" / "x.f32", np.float32).reshape(batch, 3, 224, 224)
        return measure(args, str(args.data / f"{name}.onnx"), x)
    made = graph(args.workload)
    if made is None:
        return
    nodes, weights, last, inner, outer = made
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    body = helper.make_graph(nodes, args.workload, [value("x", inner)], [value(last, outer)], weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    onnx.checker.check_model(model)
    measure(args, model.SerializeToString(), random.standard_normal(inner).astype(np.float32))


def measure(args, model, x):
    """Times a model, a file's path or its bytes, on an input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    version = onnxruntime.__version__
    taken = common.samples(lambda: session.run(None, {"x": x}), args.seconds / 2)
    common.report(args.workload, "onnxruntime", taken, mode="plain", version=version)
    binding = session.io_binding()
    source = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    target = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros_like(session.run(None, {"x": x})[0]))
    binding.bind_ortvalue_input("x", source)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, target)
    taken = common.samples(lambda: session.run_with_iobinding(binding), args.seconds / 2)
    common.report(args.workload, "onnxruntime", taken, mode="bound", version=version)


main()
