//! ONNX files of a few nodes, which every kind of part is in: to damage, and as they ask for too much.

use kiln::onnx::proto::attribute_proto::AttributeType;
use kiln::onnx::proto::tensor_proto::DataLocation;
use kiln::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TypeProto, ValueInfoProto, type_proto,
};
#[cfg(feature = "tokenizer")]
use kiln::onnx::proto::{
    TensorShapeProto,
    tensor_shape_proto::{Dimension, dimension},
};

/// A node of an operator: what it takes and gives, with spaces between the names, and its settings.
pub fn node(operator: &str, inputs: &str, outputs: &str, settings: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &str| names.split_whitespace().map(str::to_string).collect();
    let domain = operator.starts_with("own.").then(|| "own".to_string());
    NodeProto {
        input: names(inputs),
        output: names(outputs),
        op_type: Some(operator.trim_start_matches("own.").to_string()),
        domain,
        attribute: settings,
        ..NodeProto::default()
    }
}

fn setting(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..setting(name, AttributeType::Int) }
}

pub fn inside(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(graph), ..setting(name, AttributeType::Graph) }
}

pub fn constant(name: &str, value: TensorProto) -> NodeProto {
    let value = AttributeProto { t: Some(value), ..setting("value", AttributeType::Tensor) };
    node("Constant", "", name, vec![value])
}

pub fn port(name: &str) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: None };
    let value = Some(type_proto::Value::TensorType(tensor));
    let kind = TypeProto { value, ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_string()), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// Codes of any number of texts, each of so many pieces.
#[cfg(feature = "tokenizer")]
pub fn texts_of(name: &str, pieces: i64) -> ValueInfoProto {
    let dim = [dimension::Value::DimParam("texts".to_string()), dimension::Value::DimValue(pieces)];
    let dim = dim.map(|value| Dimension { value: Some(value), ..Dimension::default() }).to_vec();
    let tensor = type_proto::Tensor { elem_type: Some(7), shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_string()), r#type: Some(kind), ..ValueInfoProto::default() }
}

pub fn floats(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        name: Some(name.to_string()),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: values,
        ..TensorProto::default()
    }
}

pub fn whole(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_string()),
        dims: dims.to_vec(),
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub fn texts(name: &str, texts: &[&str]) -> TensorProto {
    TensorProto {
        name: Some(name.to_string()),
        dims: vec![texts.len() as i64],
        data_type: Some(8),
        string_data: texts.iter().map(|text| text.as_bytes().to_vec().into()).collect(),
        ..TensorProto::default()
    }
}

/// Numbers that lie in another file.
pub fn beside(name: &str, dims: &[i64], location: &str) -> TensorProto {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_string()),
        value: Some(value.to_string()),
    };
    TensorProto {
        name: Some(name.to_string()),
        dims: dims.to_vec(),
        data_type: Some(1),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", location), entry("offset", "0")],
        ..TensorProto::default()
    }
}

pub fn graph(inputs: &str, outputs: &str, constants: Vec<TensorProto>, nodes: Vec<NodeProto>) -> GraphProto {
    let ports = |names: &str| names.split_whitespace().map(port).collect();
    GraphProto {
        node: nodes,
        input: ports(inputs),
        output: ports(outputs),
        initializer: constants,
        ..GraphProto::default()
    }
}

pub fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_string()),
        domain: Some("own".to_string()),
        input: vec!["x".to_string()],
        output: vec!["y".to_string()],
        node: nodes,
        ..FunctionProto::default()
    }
}

pub fn file(graph: GraphProto, functions: Vec<FunctionProto>) -> Vec<u8> {
    let set = |domain: &str, version: i64| OperatorSetIdProto {
        domain: Some(domain.to_string()),
        version: Some(version),
    };
    let model = ModelProto {
        graph: Some(graph),
        functions,
        opset_import: vec![set("", 18), set("own", 1), set("ai.onnx.ml", 3)],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// A body of a loop: `nodes` make `next` of `now`.
pub fn body(nodes: Vec<NodeProto>) -> GraphProto {
    let on = node("Identity", "going", "on", Vec::new());
    graph("round going now", "on next", Vec::new(), [vec![on], nodes].concat())
}

/// Files that are as they should be.
pub fn good() -> Vec<Vec<u8>> {
    let weights = || vec![floats("w", &[2, 2], vec![1.0, 2.0, 3.0, 4.0]), whole("n", &[], &[3])];
    let looped = body(vec![node("Add", "now w", "next", Vec::new())]);
    let branch = |operator: &str| graph("", "z", Vec::new(), vec![node(operator, "x", "z", Vec::new())]);
    let scanned = graph(
        "sum row",
        "next row2",
        Vec::new(),
        vec![node("Add", "sum row", "next", Vec::new()), node("Neg", "row", "row2", Vec::new())],
    );
    let parts = vec![
        node("MatMul", "x w", "a", Vec::new()),
        node("Loop", "n  a", "b", vec![inside("body", looped)]),
        node("own.twice", "b", "c", Vec::new()),
        node("Shape", "c", "s", Vec::new()),
        node("Reshape", "c s", "y", Vec::new()),
    ];
    let parts = parts.into_iter().map(|mut part| {
        if part.op_type() == "Loop" {
            part.input.insert(1, String::new());
        }
        part
    });
    let twice = function("twice", vec![node("Add", "x x", "y", Vec::new())]);
    let quantised = vec![
        node("QuantizeLinear", "x scale zero", "q", Vec::new()),
        node("DequantizeLinear", "q scale zero", "y", Vec::new()),
    ];
    let zero = TensorProto { data_type: Some(2), int32_data: vec![3], ..whole("zero", &[], &[]) };
    let words = vec![
        constant("a", texts("", &["one", "two"])),
        constant("times", whole("", &[1], &[3])),
        node("Tile", "a times", "b", Vec::new()),
        node("SplitToSequence", "x", "list", vec![int("axis", 0)]),
        node("SequenceLength", "list", "count", Vec::new()),
        node("NonZero", "w", "places", Vec::new()),
        node("Resize", "w   sizes", "y", Vec::new()),
    ];
    let words = words.into_iter().map(|mut part| {
        if part.op_type() == "Resize" {
            part.input = ["w", "", "", "sizes"].map(str::to_string).to_vec();
        }
        part
    });
    vec![
        file(graph("x", "y", weights(), parts.collect()), vec![twice]),
        file(
            graph(
                "x",
                "y",
                vec![whole("n", &[], &[1])],
                vec![
                    node("Cast", "n", "truth", vec![int("to", 9)]),
                    node(
                        "If",
                        "truth",
                        "y",
                        vec![inside("then_branch", branch("Abs")), inside("else_branch", branch("Neg"))],
                    ),
                ],
            ),
            Vec::new(),
        ),
        file(
            graph(
                "x",
                "y all",
                vec![floats("start", &[2], vec![0.0; 2])],
                vec![node(
                    "Scan",
                    "start x",
                    "y all",
                    vec![inside("body", scanned), int("num_scan_inputs", 1)],
                )],
            ),
            Vec::new(),
        ),
        file(graph("x", "y", vec![floats("scale", &[], vec![0.5]), zero], quantised), Vec::new()),
        file(
            graph(
                "x",
                "y",
                vec![floats("w", &[2, 2], vec![0.0, 1.0, 2.0, 3.0]), whole("sizes", &[2], &[3, 3])],
                words.collect(),
            ),
            Vec::new(),
        ),
        file(
            graph(
                "x",
                "y",
                vec![beside("w", &[2, 2], "weights.bin")],
                vec![node("Add", "x w", "y", Vec::new())],
            ),
            Vec::new(),
        ),
    ]
}

/// Files of a few hundred bytes that ask for more than there is, each with what it is.
pub fn greedy() -> Vec<(&'static str, Vec<u8>)> {
    let named = |number: usize| format!("f{number}");
    let call =
        |number: usize, from: &str, to: &str| node(&format!("own.{}", named(number)), from, to, Vec::new());
    let mut calls: Vec<FunctionProto> = (0..29)
        .map(|at| function(&named(at), vec![call(at + 1, "x", "a"), call(at + 1, "a", "y")]))
        .collect();
    calls.push(function(&named(29), vec![node("Neg", "x", "y", Vec::new())]));
    let itself = function("f0", vec![call(0, "x", "a"), call(0, "a", "y")]);

    // now = [round after round of `inner`]
    let many = || vec![whole("n", &[], &[60_000]), whole("two", &[2], &[2, 1])];
    let round = |nodes: Vec<NodeProto>, output: &str| {
        let mut part = node("Loop", "n now", output, vec![inside("body", body(nodes))]);
        part.input.insert(1, String::new());
        part
    };
    let step = || node("Neg", "now", "next", Vec::new());
    let whole_loop = |nodes: Vec<NodeProto>| {
        let mut part = round(nodes, "y");
        part.input[2] = "x".to_string();
        file(graph("x", "y", many(), vec![part]), Vec::new())
    };
    let nested = whole_loop(vec![round(vec![step()], "next")]);
    let empty = whole_loop(vec![round(
        vec![round(vec![node("Identity", "now", "next", Vec::new())], "next")],
        "next",
    )]);
    let doubling = whole_loop(vec![node("Concat", "now now", "next", vec![int("axis", 0)])]);
    let tiling = whole_loop(vec![node("Tile", "now two", "next", Vec::new())]);
    let weights = whole_loop(vec![
        constant("w", floats("", &[1 << 10, 1, 1], vec![1.0; 1 << 10])),
        node("Add", "now w", "next", Vec::new()),
    ]);
    // The count that goes on is worked out from all rounds before.
    let counting = graph(
        "round going now",
        "on next",
        vec![whole("one", &[], &[1]), whole("n", &[], &[1 << 40])],
        vec![node("Add", "now one", "next", Vec::new()), node("Less", "next n", "on", Vec::new())],
    );
    let mut counted = node("Loop", "start", "y", vec![inside("body", counting)]);
    counted.input = ["", "", "start"].map(str::to_string).to_vec();
    let counted = file(graph("x", "y", vec![whole("start", &[], &[0])], vec![counted]), Vec::new());
    let mut spelled = vec![constant("t0", texts("", &["a text"; 8]))];
    spelled
        .extend((0..40).map(|at| {
            node("Concat", &format!("t{at} t{at}"), &format!("t{}", at + 1), vec![int("axis", 0)])
        }));
    spelled.push(node("Identity", "x", "y", Vec::new()));
    // A product of large matrices of nothing, whose sum a shape follows from.
    let folded = vec![
        constant("sizes", whole("", &[2], &[3000, 3000])),
        node("ConstantOfShape", "sizes", "a", Vec::new()),
        node("MatMul", "a a", "b", Vec::new()),
        node("MatMul", "b b", "c", Vec::new()),
        node("ReduceMax", "c", "most", vec![int("keepdims", 0)]),
        node("Cast", "most", "count", vec![int("to", 7)]),
        constant("axes", whole("", &[1], &[0])),
        node("Unsqueeze", "count axes", "shape", Vec::new()),
        node("Expand", "x shape", "y", Vec::new()),
    ];
    let huge = vec![
        constant("sizes", whole("", &[2], &[1 << 30, 1 << 30])),
        node("ConstantOfShape", "sizes", "y", Vec::new()),
    ];
    let attributes = node("Neg", "x", "y", vec![AttributeProto::default(); 100_000]);
    let only = |nodes: Vec<NodeProto>| file(graph("x", "y", Vec::new(), nodes), Vec::new());
    vec![
        (
            "functions that call each other twice",
            file(graph("x", "y", Vec::new(), vec![call(0, "x", "y")]), calls),
        ),
        (
            "a function that calls itself",
            file(graph("x", "y", Vec::new(), vec![call(0, "x", "y")]), vec![itself]),
        ),
        ("loops in loops", nested),
        ("loops that do nothing", empty),
        ("a loop that doubles a tensor", doubling),
        ("a loop that repeats a tensor", tiling),
        ("weights in a loop", weights),
        ("a loop whose end is counted to", counted),
        ("texts that double", only(spelled)),
        ("products that a shape follows from", only(folded)),
        ("a size that no memory has", only(huge)),
        ("settings of two bytes each", only(vec![attributes])),
    ]
}
