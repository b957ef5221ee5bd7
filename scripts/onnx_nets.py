"""Networks and operators that ONNX's own tests don't have, beside ONNX Runtime: python onnx_nets.py FOLDER PROGRAM

Small ones in the forms that exporters and tools write: quantised, with arithmetic on shapes, with loops and sequences, ensembles of
trees, support vectors, and the operators of `com.microsoft`. `scripts/zoo.sh` tries the real ones.
"""

import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(7)
onnxruntime.set_default_logger_severity(3)
floats = lambda *shape: random.normal(size=shape).astype(np.float32)
bytes_ = lambda *shape: random.integers(0, 256, shape).astype(np.uint8)
# Seven bits and a sign: with eight ONNX Runtime's sums saturate on some processors.
signed = lambda *shape: random.integers(-63, 64, shape).astype(np.int8)
f32, u8, i8 = np.float32, np.uint8, np.int8


class Net:
    """A graph that grows by calls; constants become weights."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs, self.values, self.count = [], [], [], [], [], 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def input(self, value, sizes=None):
        name = self.name()
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, sizes or value.shape))
        self.values.append(value)
        return name

    def weight(self, value):
        name = self.name()
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def call(self, kind, *operands, results=1, domain="", **settings):
        names = [operand if isinstance(operand, str) else "" if operand is None else self.weight(operand) for operand in operands]
        results = [self.name() for _ in range(results)]
        self.nodes.append(helper.make_node(kind, names, results, domain=domain, name=f"{kind}{self.count}", **settings))
        return results[0] if len(results) == 1 else results

    def output(self, name, kind=T.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def graph(self):
        return helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.weights)

    def save(self, name):
        sets = [("", 17), ("ai.onnx.ml", 3), ("com.microsoft", 1)]
        model = helper.make_model(self.graph(), opset_imports=[helper.make_opsetid(*one) for one in sets], ir_version=8)
        data = folder / name / "test_data_set_0"
        data.mkdir(parents=True)
        onnx.save(model, folder / name / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(folder / name / "model.onnx"), options, providers=["CPUExecutionProvider"])
        results = session.run(None, {port.name: value for port, value in zip(self.inputs, self.values)})
        for kind, values, ports in (("input", self.values, self.inputs), ("output", results, self.outputs)):
            for at, (value, port) in enumerate(zip(values, ports)):
                (data / f"{kind}_{at}.pb").write_bytes(numpy_helper.from_array(np.asarray(value), port.name).SerializeToString())


def quantised():
    """A convolution, a residual and a dense layer between quantising and dequantising nodes, weights per channel. Scales with a common
    measure would leave sums just between two numbers, where rounding goes either way."""
    net = Net()

    def through(x, scale):
        return net.call("DequantizeLinear", net.call("QuantizeLinear", x, f32(scale), u8(120)), f32(scale), u8(120))

    def weight(*shape):
        scale = np.abs(floats(shape[0])) * 0.002 + 0.001
        return net.call("DequantizeLinear", signed(*shape), scale, np.zeros(shape[0], i8), axis=0)

    x = through(net.input(floats(2, 3, 8, 8), ["batch", 3, 8, 8]), 0.0311)
    y = through(net.call("Relu", net.call("Conv", x, weight(4, 3, 3, 3), floats(4), pads=[1] * 4)), 0.0293)
    z = through(net.call("Conv", y, weight(4, 1, 3, 3), group=4, pads=[1] * 4), 0.0173)
    y = through(net.call("Add", y, z), 0.0417)
    y = net.call("Flatten", net.call("GlobalAveragePool", y))
    net.output(net.call("Gemm", y, weight(5, 4), floats(5), transB=1))
    net.save("net-qdq")


def shapes():
    """Attention whose heads, mask and positions follow from the shape of its input, as tracing leaves them."""
    net = Net()
    x = net.input(floats(2, 5, 8), ["batch", "time", 8])
    shape = net.call("Shape", x)
    batch, time = (net.call("Gather", shape, np.int64(axis)) for axis in (0, 1))
    row = lambda number: net.call("Unsqueeze", number, np.array([0]))
    apart = net.call("Concat", row(batch), row(time), np.array([2]), np.array([-1]), axis=0)
    heads = lambda: net.call("Transpose", net.call("Reshape", net.call("MatMul", x, floats(8, 8)), apart), perm=[0, 2, 1, 3])
    q, k, v = heads(), heads(), heads()
    places = net.call("Range", np.int64(0), time, np.int64(1))
    later = net.call("Greater", net.call("Unsqueeze", places, np.array([0])), net.call("Unsqueeze", places, np.array([1])))
    low = net.call("ConstantOfShape", net.call("Concat", row(time), row(time), axis=0), value=numpy_helper.from_array(np.array([-1e4], f32)))
    mask = net.call("Where", later, low, f32(0))
    width = net.call("Cast", net.call("Gather", net.call("Shape", q), np.int64(-1)), to=T.FLOAT)
    scores = net.call("Div", net.call("MatMul", q, net.call("Transpose", k, perm=[0, 1, 3, 2])), net.call("Sqrt", width))
    y = net.call("MatMul", net.call("Softmax", net.call("Add", scores, mask), axis=-1), v)
    y = net.call("Reshape", net.call("Transpose", y, perm=[0, 2, 1, 3]), np.array([0, 0, -1]))
    half = net.call("Div", time, np.int64(2))
    net.output(net.call("Slice", y, row(half), np.array([2**63 - 1]), np.array([1])))
    net.save("net-shapes")


def loops():
    """A cell stepped as often as its input is long, its states kept in a sequence and as gathered results; and the same by slices."""
    net = Net()
    x = net.input(floats(4, 2, 3), ["time", "batch", 3])
    count = net.call("Gather", net.call("Shape", x), np.int64(0))
    w, start = net.weight(floats(3, 3)), net.weight(floats(2, 3))

    def body(first, last, slices):
        inner = Net()
        inner.count = 1000 + net.count
        names = [first, "going", "h", "kept"] if not slices else ["h", "part"]
        part = "part" if slices else inner.call("Gather", x, first)
        h = inner.call("Tanh", inner.call("Add", inner.call("MatMul", "h", w), part))
        ports = {"h": helper.make_tensor_value_info("h", T.FLOAT, [2, 3]), "part": helper.make_tensor_value_info("part", T.FLOAT, [2, 3]),
                 first: helper.make_tensor_value_info(first, T.INT64, []), "going": helper.make_tensor_value_info("going", T.BOOL, []),
                 "kept": helper.make_tensor_sequence_value_info("kept", T.FLOAT, None)}
        of = lambda name, kind=T.FLOAT, shape=(2, 3): helper.make_tensor_value_info(name, kind, shape)
        if slices:
            outputs = [of(h), of(inner.call("Identity", h))]
        else:
            kept, on = inner.call("SequenceInsert", "kept", h), inner.call("Identity", "going")
            outputs = [of(on, T.BOOL, []), of(h), helper.make_tensor_sequence_value_info(kept, T.FLOAT, None), of(inner.call("Mul", h, h))]
        return helper.make_graph(inner.nodes, "body", [ports[name] for name in names], outputs, inner.weights)

    h, kept, squares = net.call("Loop", count, np.array(True), start, net.call("SequenceEmpty"), results=3, body=body("round", "h", False))
    net.output(h)
    net.output(net.call("ConcatFromSequence", kept, axis=1, new_axis=1))
    net.output(squares)
    for direction in (0, 1):
        h, all_ = net.call("Scan", start, x, results=2, body=body("round", "h", True), num_scan_inputs=1, scan_input_directions=[direction],
                           scan_output_directions=[direction], scan_output_axes=[1])
        net.output(h)
        net.output(all_)
    net.save("net-loops")


def body(nodes, inputs, outputs, weights=()):
    """A graph of a node: its values have names, types and shapes."""
    of = lambda ports: [helper.make_tensor_value_info(*port) for port in ports]
    return helper.make_graph(nodes, "body", of(inputs), of(outputs), list(weights))


def by_numbers():
    """Networks whose shapes, ways and rounds follow from numbers."""
    node = helper.make_node
    one = lambda name, value: numpy_helper.from_array(np.asarray(value), name)

    net = Net()
    x = net.input(floats(6, 4), ["rows", 4])
    positive = net.call("Greater", net.call("ReduceSum", x, np.array([1]), keepdims=0), f32(0))
    rows = net.call("Squeeze", net.call("NonZero", positive), np.array([0]))
    net.output(net.call("Gemm", net.call("Gather", x, rows), floats(4, 3), floats(3)))
    net.output(net.call("Compress", x, positive, axis=0))
    kept, first, which, counts = net.call("Unique", net.call("Round", net.call("Mul", x, f32(2))), results=4)
    [net.output(*port) for port in ((kept,), (first, T.INT64), (which, T.INT64), (counts, T.INT64))]
    net.save("numbers-shapes")

    for sign in (1, -1):
        net = Net()
        x = net.input(sign * np.abs(floats(3, 4)), ["rows", 4])
        y = net.call("MatMul", x, net.weight(floats(4, 4)))
        is_large = net.call("Greater", net.call("ReduceSum", x, keepdims=0), f32(0))
        then = body([node("Mul", [y, "two"], ["a"])], [], [("a", T.FLOAT, None)], [one("two", f32(2))])
        other = body([node("Slice", [y, "from", "to"], ["b"])], [], [("b", T.FLOAT, None)], [one("from", np.array([0])), one("to", np.array([1]))])
        net.output(net.call("If", is_large, then_branch=then, else_branch=other))
        net.save(f"numbers-if-{sign}")

    net = Net()
    x = net.input(np.abs(floats(3, 4)), ["rows", 4])
    w = net.weight(np.eye(4, dtype=f32) * 1.3)
    inside = [node("MatMul", ["h", w], ["next"]), node("ReduceSum", ["next"], ["sum"], keepdims=0), node("Less", ["sum", "most"], ["on"]),
              node("ReduceMax", ["next"], ["largest"], keepdims=0)]
    loop = body(inside, [("round", T.INT64, []), ("going", T.BOOL, []), ("h", T.FLOAT, [3, 4])],
                [("on", T.BOOL, []), ("next", T.FLOAT, [3, 4]), ("largest", T.FLOAT, [])], [one("most", f32(500))])
    h, all_ = net.call("Loop", None, np.array(True), x, results=2, body=loop)
    net.output(h)
    net.output(all_)
    rounds = net.call("Cast", net.call("ReduceMax", net.call("Abs", x), keepdims=0), to=T.INT64)
    rounds = net.call("Min", net.call("Add", rounds, np.int64(2)), np.int64(4))
    inside = [node("Cast", ["round"], ["number"], to=T.FLOAT), node("Add", ["h", "number"], ["next"]), node("Identity", ["going"], ["on"]),
              node("Gather", ["h", "round"], ["row"], axis=1)]
    loop = body(inside, [("round", T.INT64, []), ("going", T.BOOL, []), ("h", T.FLOAT, [3, 4])],
                [("on", T.BOOL, []), ("next", T.FLOAT, [3, 4]), ("row", T.FLOAT, [3])])
    h, all_ = net.call("Loop", rounds, None, x, results=2, body=loop)
    net.output(h)
    net.output(all_)
    net.save("numbers-loops")

    net = Net()
    x, at = net.input(floats(5, 3)), net.input(np.array([[0, 1, 1], [4, 4, 4]]))
    for reduction in ("max", "min", "mul"):
        net.output(net.call("ScatterElements", x, at, floats(2, 3), reduction=reduction))
    net.save("numbers-scatter")


def detectors():
    """Boxes that stay, what is cut out of features at them, and what is said of it."""
    corners = np.sort(random.uniform(0, 32, (1, 40, 2, 2)).astype(f32), axis=2).reshape(1, 40, 4)
    for name, boxes, centre in (("corners", corners, 0), ("centres", np.abs(corners - 8), 1)):
        net = Net()
        boxes, scores = net.input(boxes), net.input(random.uniform(size=(1, 3, 40)).astype(f32))
        net.output(net.call("NonMaxSuppression", boxes, scores, np.array([5]), np.array([0.4], f32), np.array([0.3], f32), center_point_box=centre), T.INT64)
        net.output(net.call("NonMaxSuppression", boxes, scores, np.array([40]), np.array([0.1], f32), center_point_box=centre), T.INT64)
        net.save(f"detector-kept-{name}")
    regions, images = corners[0][:, [1, 0, 3, 2]].copy(), random.integers(0, 2, 40)
    for mode in ("avg", "max"):
        for samples in (0, 2):
            for pixel in ("half_pixel", "output_half_pixel"):
                net = Net()
                net.output(net.call("RoiAlign", net.input(floats(2, 3, 9, 11)), net.input(regions), images, mode=mode, sampling_ratio=samples, output_height=3,
                                    output_width=4, spatial_scale=0.3, coordinate_transformation_mode=pixel))
                net.save(f"detector-aligned-{mode}-{samples}-{pixel}")
    net = Net()
    whole = np.concatenate([images[:, None].astype(f32), regions], axis=1)
    net.output(net.call("MaxRoiPool", net.input(floats(2, 3, 9, 11)), net.input(whole), pooled_shape=[3, 4], spatial_scale=0.3))
    net.save("detector-pooled")

    net = Net()
    image = net.input(floats(1, 3, 32, 32), ["batch", 3, "height", "width"])
    features = net.call("Relu", net.call("Conv", image, floats(8, 3, 3, 3), floats(8), strides=[2, 2], pads=[1] * 4))
    scores = net.call("Reshape", net.call("Sigmoid", net.call("Conv", features, floats(2, 8, 1, 1) * f32(0.1))), np.array([0, 2, -1]))
    moves = net.call("Transpose", net.call("Reshape", net.call("Conv", features, floats(4, 8, 1, 1) * f32(0.2)), np.array([0, 4, -1])), perm=[0, 2, 1])
    grid = np.stack(np.meshgrid(np.arange(0, 32, 2), np.arange(0, 32, 2), indexing="ij"), -1).reshape(1, -1, 2).astype(f32)
    boxes = net.call("Add", moves, np.concatenate([grid - 3, grid + 3], axis=-1))
    kept = net.call("NonMaxSuppression", boxes, scores, np.array([20]), np.array([0.5], f32), np.array([0.6], f32))
    place = net.call("Squeeze", net.call("Slice", kept, np.array([2]), np.array([3]), np.array([1])), np.array([1]))
    found = net.call("Gather", net.call("Squeeze", boxes, np.array([0])), place)
    zero = net.call("Expand", np.int64(0), net.call("Shape", place))
    cut = net.call("RoiAlign", features, found, zero, output_height=4, output_width=4, sampling_ratio=2, spatial_scale=0.5)
    logits = net.call("Gemm", net.call("Flatten", cut), floats(128, 5), floats(5))
    best = net.call("ReduceMax", net.call("Softmax", logits, axis=-1), axes=[1], keepdims=0)
    sure = net.call("Reshape", net.call("NonZero", net.call("Greater", best, f32(0.5))), np.array([-1]))
    net.output(net.call("Gather", found, sure))
    net.output(net.call("Gather", best, sure))
    net.output(net.call("ArgMax", net.call("Gather", logits, sure), axis=1, keepdims=0), T.INT64)
    net.save("detector-whole")


def signals():
    """Spectra and what is made of them."""
    for length in (16, 15):
        net = Net()
        x = net.input(floats(2, length, 1))
        for onesided in (0, 1):
            net.output(net.call("DFT", x, axis=1, onesided=onesided))
            net.output(net.call("DFT", x, np.int64(20), axis=1, onesided=onesided))
        net.output(net.call("DFT", net.call("DFT", x, axis=1), axis=1, inverse=1))
        window = net.call("HannWindow", np.int64(8))
        net.output(net.call("STFT", x, np.int64(3), window))
        net.output(net.call("STFT", x, np.int64(4), None, np.int64(6), onesided=0))
        net.save(f"signals-dft-{length}")
    net = Net()
    bands = net.call("MelWeightMatrix", np.int64(12), np.int64(64), np.int64(8000), f32(100), f32(3900))
    net.output(net.call("MatMul", net.input(floats(3, 33)), bands))
    net.save("signals-bands")


def words():
    """Counts of n-grams, of codes and of texts."""
    codes = random.integers(0, 6, (4, 9))
    pool = dict(ngram_counts=[0, 4], ngram_indexes=[0, 2, 1, 3, 5, 4], weights=[1.0, 0.5, 2.0, 1.5, 3.0, 0.1], min_gram_length=1, max_gram_length=2)
    for mode in ("TF", "IDF", "TFIDF"):
        for skip in (0, 3):
            net = Net()
            x = net.input(codes)
            net.output(net.call("TfIdfVectorizer", x, mode=mode, max_skip_count=skip, pool_int64s=[0, 2, 4, 5, 1, 2, 3, 3], **pool))
            net.save(f"words-{mode}-{skip}")


def trees():
    """Ensembles with all questions that a node can ask, of two classes and of several, and missing numbers."""
    x = random.integers(-2, 3, (40, 3)).astype(f32)
    x[5, 0] = x[6, 1] = np.nan
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]

    def nodes(mode):
        settings = {"nodes_treeids": [], "nodes_nodeids": [], "nodes_featureids": [], "nodes_values": [], "nodes_modes": [],
                    "nodes_truenodeids": [], "nodes_falsenodeids": [], "nodes_missing_value_tracks_true": []}
        for tree in range(3):
            for node in range(7):
                leaf = node > 2
                row = (tree, node, 0 if leaf else (tree + node) % 3, 0.0 if leaf else float(random.integers(-1, 2)), "LEAF" if leaf else mode,
                       0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2, 0 if leaf else (tree + node) % 2)
                [settings[name].append(value) for name, value in zip(settings, row)]
        return settings

    leaves = [(tree, node) for tree in range(3) for node in range(3, 7)]
    for mode in modes:
        for together in ("SUM", "AVERAGE", "MIN", "MAX"):
            net = Net()
            where = dict(target_treeids=[tree for tree, _ in leaves for _ in range(2)], target_nodeids=[node for _, node in leaves for _ in range(2)],
                         target_ids=[0, 1] * len(leaves), target_weights=floats(2 * len(leaves)).tolist())
            net.output(net.call("TreeEnsembleRegressor", net.input(x, ["rows", 3]), domain="ai.onnx.ml", n_targets=2, aggregate_function=together,
                                base_values=[0.5, -0.25], **where, **nodes(mode)))
            net.save(f"trees-{mode}-{together}")
    for name, classes, ids, weights, transform in (
        ("three", [3, 5, 9], [0, 1, 2], floats, "SOFTMAX"), ("two", [0, 1], [0, 1], floats, "NONE"), ("one", [0, 1], [0], floats, "LOGISTIC"),
        ("plain", [0, 1], [1], floats, "NONE"), ("positive", [0, 1], [1], lambda count: np.abs(floats(count)) / 3, "NONE"),
    ):
        net = Net()
        many = len(ids)
        where = dict(class_treeids=[tree for tree, _ in leaves for _ in ids], class_nodeids=[node for _, node in leaves for _ in ids],
                     class_ids=ids * len(leaves), class_weights=weights(many * len(leaves)).tolist())
        label, scores = net.call("TreeEnsembleClassifier", net.input(x, ["rows", 3]), domain="ai.onnx.ml", results=2, classlabels_int64s=classes,
                                 post_transform=transform, **where, **nodes("BRANCH_LEQ"))
        # Where trees know both of two classes ONNX Runtime looks at one score only; ONNX's reference takes the larger.
        if name != "two":
            net.output(label, T.INT64)
        net.output(scores)
        net.save(f"trees-classes-{name}")


def tables():
    x = floats(20, 4)
    ml = dict(domain="ai.onnx.ml")
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        net = Net()
        label, scores = net.call("LinearClassifier", net.input(x), results=2, classlabels_strings=["a", "b", "c"], coefficients=floats(12).tolist(),
                                 intercepts=floats(3).tolist(), post_transform=transform, **ml)
        net.output(label, T.STRING)
        net.output(scores)
        net.save(f"linear-classes-{transform}")
    net = Net()
    net.output(net.call("LinearRegressor", net.input(x), coefficients=floats(8).tolist(), intercepts=floats(2).tolist(), targets=2, **ml))
    net.save("linear-numbers")
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        net = Net()
        given = dict(kernel_type=kernel, kernel_params=[0.2, 0.1, 2.0], support_vectors=floats(24).tolist())
        net.output(net.call("SVMRegressor", net.input(x), coefficients=floats(6).tolist(), n_supports=6, rho=[0.3], **given, **ml))
        net.save(f"support-numbers-{kernel}")
        for chances in (False, True):
            net = Net()
            more = dict(prob_a=[-1.5, -1.2, -0.8], prob_b=[0.1, -0.1, 0.2]) if chances else {}
            label, scores = net.call("SVMClassifier", net.input(x), results=2, classlabels_ints=[2, 4, 8], coefficients=floats(12).tolist(),
                                     vectors_per_class=[2, 3, 1], rho=[0.1, -0.2, 0.3], **given, **more, **ml)
            net.output(label, T.INT64)
            net.output(scores)
            net.save(f"support-classes-{kernel}-{chances}")


def microsoft():
    """The operators of ONNX Runtime's tools, each by itself."""

    def case(name, kind, *operands, kinds=(T.FLOAT,), label="", **settings):
        net = Net()
        names = [net.input(operand) if at == 0 else operand for at, operand in enumerate(operands)]
        results = net.call(kind, *names, results=len(kinds), domain="com.microsoft", **settings)
        for result, kind_ in zip([results] if len(kinds) == 1 else results, kinds):
            net.output(result, kind_)
        net.save(f"microsoft-{name}")

    image, weight = floats(2, 3, 6, 6), floats(4, 3, 3, 3)
    for activation, parameters in (("Relu", None), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.3, 0.4])):
        more = dict(activation_params=parameters) if parameters else {}
        case(f"FusedConv-{activation}", "FusedConv", image, weight, floats(4), activation=activation, **more)
    case("FusedConv-sum", "FusedConv", image, weight, floats(4), floats(2, 4, 4, 4), activation="Relu")
    case("FusedMatMul", "FusedMatMul", floats(2, 5, 3), floats(2, 4, 5), transA=1, transB=1, alpha=0.5)
    case("FusedMatMul-batch", "FusedMatMul", floats(5, 2, 3), floats(2, 3, 4), transBatchA=1)
    case("FusedGemm", "FusedGemm", floats(3, 4), floats(5, 4), floats(5), transB=1, activation="LeakyRelu", activation_alpha=0.2)
    case("Gelu", "Gelu", floats(3, 4))
    case("BiasGelu", "BiasGelu", floats(3, 4), floats(4))
    case("FastGelu", "FastGelu", floats(3, 4), floats(4))
    case("QuickGelu", "QuickGelu", floats(3, 4), alpha=1.5)
    case("SkipLayerNormalization", "SkipLayerNormalization", floats(2, 3, 8), floats(2, 3, 8), floats(8), floats(8), floats(8), epsilon=1e-5)
    case("SkipSimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", floats(2, 3, 8), floats(2, 3, 8), floats(8), epsilon=1e-5)
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)
    for name, given, more in (("plain", None, {}), ("mask", mask, {}), ("lengths", np.array([4, 2], np.int32), {}), ("causal", None, dict(unidirectional=1))):
        case(f"Attention-{name}", "Attention", floats(2, 5, 8), floats(8, 24), floats(24), given, num_heads=2, **more)
    case("MultiHeadAttention", "MultiHeadAttention", floats(2, 5, 8), floats(2, 7, 8), floats(2, 7, 8), floats(24), num_heads=2)
    case("EmbedLayerNormalization", "EmbedLayerNormalization", random.integers(0, 9, (2, 5)).astype(np.int32), np.zeros((2, 5), np.int32), floats(9, 8),
         floats(6, 8), floats(2, 8), floats(8), floats(8), mask, kinds=(T.FLOAT, T.INT32), epsilon=1e-5)
    packed = bytes_(6, 3, 8)
    case("MatMulNBits", "MatMulNBits", floats(2, 5, 40), packed, np.abs(floats(18)), K=40, N=6, bits=4, block_size=16)
    case("MatMulNBits-zero", "MatMulNBits", floats(5, 40), packed, np.abs(floats(18)), bytes_(12), None, floats(6), K=40, N=6, bits=4, block_size=16)
    case("MatMulNBits-eight", "MatMulNBits", floats(5, 40), bytes_(6, 3, 16), np.abs(floats(18)), bytes_(18), K=40, N=6, bits=8, block_size=16)
    angles = floats(20, 4)
    turned = (np.cos(angles), np.sin(angles))
    for pairs in (0, 1):
        case(f"RotaryEmbedding-{pairs}", "RotaryEmbedding", floats(2, 5, 16), np.array([3]), *turned, interleaved=pairs)
        case(f"RotaryEmbedding-each-{pairs}", "RotaryEmbedding", floats(2, 3, 5, 8), random.integers(0, 20, (2, 5)), *turned, interleaved=pairs)
    group = dict(num_heads=4, kv_num_heads=2, kinds=(T.FLOAT,) * 3)
    for name, more in (("plain", {}), ("rotary", dict(do_rotary=1)), ("window", dict(local_window_size=3)), ("capped", dict(softcap=2.0))):
        tables = (np.tile(turned[0], 2), np.tile(turned[1], 2)) if "do_rotary" in more else ()
        lengths = np.array([4, 4], np.int32)
        case(f"GroupQueryAttention-first-{name}", "GroupQueryAttention", floats(2, 5, 64), floats(2, 5, 32), floats(2, 5, 32), None, None, lengths, np.int32(5), *tables, **group, **more)
        case(f"GroupQueryAttention-next-{name}", "GroupQueryAttention", floats(2, 1, 64), floats(2, 1, 32), floats(2, 1, 32), floats(2, 2, 6, 16), floats(2, 2, 6, 16),
             np.array([6, 4], np.int32), np.int32(7), *tables, **group, **more)
    case("GroupQueryAttention-packed", "GroupQueryAttention", floats(2, 5, 128), None, None, None, None, np.array([4, 4], np.int32), np.int32(5), **group)
    case("QAttention", "QAttention", bytes_(2, 5, 8), signed(8, 24), floats(24), f32(0.02), f32(0.01), mask, u8(120), i8(3), num_heads=2)
    pair = lambda scale, zero: (f32(scale), u8(zero))
    for kind in ("QLinearAdd", "QLinearMul"):
        case(kind, kind, bytes_(3, 4), *pair(0.1, 128), bytes_(4), *pair(0.05, 100), *pair(0.2, 90), kinds=(T.UINT8,))
    case("QLinearSigmoid", "QLinearSigmoid", bytes_(3, 4), *pair(0.05, 128), *pair(1 / 256, 0), kinds=(T.UINT8,))
    case("QLinearLeakyRelu", "QLinearLeakyRelu", bytes_(3, 4), *pair(0.05, 128), *pair(0.04, 60), alpha=0.3, kinds=(T.UINT8,))
    case("QLinearSoftmax", "QLinearSoftmax", bytes_(3, 4), *pair(0.05, 128), *pair(1 / 256, 0), axis=-1, opset=13, kinds=(T.UINT8,))
    case("QLinearGlobalAveragePool", "QLinearGlobalAveragePool", bytes_(2, 3, 4, 4), *pair(0.05, 128), *pair(0.021, 100), kinds=(T.UINT8,))
    case("QLinearAveragePool", "QLinearAveragePool", bytes_(2, 3, 4, 4), *pair(0.05, 128), *pair(0.0371, 100), kernel_shape=[2, 2], kinds=(T.UINT8,))
    net = Net()
    net.output(net.call("QLinearConcat", *pair(0.07, 110), net.input(bytes_(2, 3)), *pair(0.05, 128), bytes_(2, 2), *pair(0.1, 100), axis=1, domain="com.microsoft"), T.UINT8)
    net.save("microsoft-QLinearConcat")
    case("QGemm", "QGemm", bytes_(3, 4), *pair(0.05, 128), signed(4, 5), f32(0.02), i8(0), random.integers(-99, 99, 5).astype(np.int32), *pair(0.3, 120), kinds=(T.UINT8,))
    case("MatMulIntegerToFloat", "MatMulIntegerToFloat", bytes_(3, 300), signed(300, 5), f32(0.05), np.abs(floats(5)), u8(100), np.zeros(5, i8), floats(5))
    case("DynamicQuantizeMatMul", "DynamicQuantizeMatMul", floats(3, 300), signed(300, 5), np.abs(floats(5)), np.zeros(5, i8), floats(5))


parts = (quantised, shapes, loops, by_numbers, detectors, signals, words, trees, tables, microsoft)
for part in parts:
    part()
rows = [line.split("\t") for line in subprocess.run([program, *map(str, sorted(folder.iterdir()))], check=True, capture_output=True, text=True).stdout.splitlines()]
wrong = [row for row in rows if row[1] != "passed"]
for name, how, why in wrong:
    print(f"{name}: {how}: {why[:300]}")
print(f"{len(rows) - len(wrong)} of {len(rows)} networks and operators beyond ONNX's tests are the same as in ONNX Runtime")
sys.exit(1 if wrong else 0)
