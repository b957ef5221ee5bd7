//! Models as ONNX files and back: what is written is read to the same, what is read is trained, and what is wrong is named.

use std::path::Path;
use std::process::Command;

use kiln::data::Form;
use kiln::model::{About, Model, Task};
use kiln::onnx::{Export, Network, load, parse};
use kiln::prelude::*;
use kiln_testkit::Folder;

fn model(text: &str, row: &[usize], classes: usize) -> Model {
    let layers: Sequential = text.parse().unwrap();
    layers.build([&[1], row].concat()).unwrap();
    let names = (0..classes).map(|class| format!("c{class}")).collect();
    let about = About::new(&layers, &Form::numbers(row), Task::Classes { names }).unwrap();
    Model::new(layers, about)
}

fn write(model: &Model, path: &Path) {
    let (_, checked) = model.save_onnx(path, &Export { preprocessing: false, ..Export::default() }).unwrap();
    assert!(checked.largest < 1e-5, "{checked}");
}

fn forward(layers: &dyn Layer, x: &Tensor) -> Vec<f32> {
    layers.forward(x, &Context::inference()).to_vec().unwrap()
}

#[test]
fn out_and_in_and_out_again_is_stable() {
    let folder = Folder::new("stable");
    for (text, row) in [
        (
            "conv 4 3 padding 1, batch-norm, relu, residual(conv 4 3 padding 1, relu), global-avg-pool, dense 3",
            &[2, 6, 6][..],
        ),
        ("gru 5, layer-norm, mean-over-time, gelu, dense 3", &[4, 3]),
        ("attention 2, flatten, dense 3", &[3, 4]),
    ] {
        let first = model(text, row, 3);
        let [a, b, c] = ["a.onnx", "b.onnx", "c.onnx"].map(|name| folder.at(name));
        write(&first, &a);
        let again = |from: &Path, to: &Path| {
            let network = load(from).unwrap();
            let task = first.about().task.clone();
            let second = Model::of_network(network, &Form::numbers(row), task).unwrap();
            let kept = folder.at("kept.kiln");
            second.save(&kept).unwrap();
            let third = Model::load(&kept).unwrap();
            let x = Tensor::from_data(
                Data::F32((0..2 * row.iter().product::<usize>()).map(|at| (at as f32).sin()).collect()),
                [&[2], row].concat(),
            );
            let (own, other) = (forward(first.layers(), &x), forward(third.layers(), &x));
            assert!(own.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{text}");
            write(&third, to);
        };
        again(&a, &b);
        again(&b, &c);
        assert!(std::fs::read(&b).unwrap() == std::fs::read(&c).unwrap(), "{text}");
    }
}

#[test]
fn weights_that_are_many_stand_in_a_file_of_their_own() {
    let folder = Folder::new("external");
    let (path, model) = (folder.at("a.onnx"), model("dense 64, relu, dense 3", &[20], 3));
    let options = kiln::onnx::Options { external_above: 1000, ..Default::default() };
    let (written, checked) =
        model.save_onnx(&path, &Export { options, preprocessing: false, cache: false }).unwrap();
    let weights = written.weights.unwrap();
    assert!(checked.largest < 1e-6 && std::fs::metadata(&path).unwrap().len() < 2000);
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..100]).unwrap();
    assert!(load(&path).err().unwrap().to_string().contains("ends before its numbers do"));
    std::fs::remove_file(&weights).unwrap();
    assert!(load(&path).err().unwrap().to_string().contains("a.onnx.data"));
}

/// A network of a file with another head than it came with.
struct Tuned {
    body: Network,
    head: Dense,
}
parameters!(Tuned { body, head });

impl Layer for Tuned {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.head.forward(&self.body.forward(x, cx), cx)
    }
}

#[test]
fn a_network_of_a_file_is_trained_frozen_and_given_another_head() {
    let folder = Folder::new("tuned");
    let path = folder.at("body.onnx");
    write(&model("dense 16, tanh, dense 8, tanh", &[2], 8), &path);
    let tuned = Tuned { body: load(&path).unwrap(), head: Dense::new(8, 2, Key::new(3)) };
    let names: Vec<String> = tuned.parameters().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        names,
        ["body.0.bias", "body.0.weight", "body.2.bias", "body.2.weight", "head.weight", "head.bias"]
    );
    tuned.freeze("body.0.*").unwrap();
    let value = |at: usize| tuned.parameters()[at].1.value().unwrap();
    let before = [value(1), value(3)];
    let moons = data::moons(64, 0.1, 7);
    let batch = moons.all().unwrap();
    let mut step =
        Step::train(&tuned, Adam::new(0.02), |net, cx, [x, y]| net.forward(&x, cx).cross_entropy(&y));
    let losses: Vec<f32> = (0..200).map(|_| step.run(batch.inputs()).unwrap()).collect();
    assert!(losses[199] < 0.5 * losses[0], "{} {}", losses[0], losses[199]);
    drop(step);
    assert_eq!(value(1), before[0], "frozen");
    assert_ne!(value(3), before[1], "trained");
}

#[test]
fn a_file_cut_anywhere_is_refused_or_says_something_else_and_never_panics() {
    let folder = Folder::new("cut");
    let path = folder.at("a.onnx");
    write(&model("conv 2 3, relu, flatten, dense 2", &[1, 4, 4], 2), &path);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        if let Ok(network) = parse(whole[..cut].to_vec()) {
            assert!(network.inputs().len() <= 1);
        }
    }
    let empty = parse(Vec::new()).err().unwrap().to_string();
    assert!(empty.contains("no graph"), "{empty}");
}

/// What the command says of a file, and its exit code.
fn import(folder: &Folder, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kiln"))
        .arg("import")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn recorded_outputs_decide_the_exit_code() {
    use kiln::onnx::proto::{
        GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto,
        ValueInfoProto, type_proto,
    };
    let folder = Folder::new("verify");
    let node = |operator: &str, inputs: &[&str], output: &str| NodeProto {
        input: inputs.iter().map(|input| input.to_string()).collect(),
        output: vec![output.to_string()],
        op_type: Some(operator.to_string()),
        ..NodeProto::default()
    };
    let float = type_proto::Value::TensorType(type_proto::Tensor { elem_type: Some(1), shape: None });
    let kind = TypeProto { value: Some(float), ..TypeProto::default() };
    let port = |name: &str| ValueInfoProto {
        name: Some(name.to_string()),
        r#type: Some(kind.clone()),
        ..ValueInfoProto::default()
    };
    let network = |nodes: Vec<NodeProto>, output: &str| {
        let graph = GraphProto {
            node: nodes,
            input: vec![port("x")],
            output: vec![port(output)],
            ..GraphProto::default()
        };
        let set = OperatorSetIdProto { domain: None, version: Some(17) };
        ModelProto { graph: Some(graph), opset_import: vec![set], ..ModelProto::default() }.encode_to_vec()
    };
    let tensor = |values: &[f32]| {
        let message = TensorProto {
            dims: vec![values.len() as i64],
            data_type: Some(1),
            float_data: values.to_vec(),
            ..TensorProto::default()
        };
        message.encode_to_vec()
    };
    let write = |name: &str, bytes: Vec<u8>| folder.write(name, bytes);
    write("data/test_data_set_0/input_0.pb", tensor(&[1.0, -2.0]));
    write("data/test_data_set_0/output_0.pb", tensor(&[1.0, 2.0]));
    write("right.onnx", network(vec![node("Abs", &["x"], "y")], "y"));
    write("wrong.onnx", network(vec![node("Neg", &["x"], "y")], "y"));
    write(
        "unknown.onnx",
        network(vec![node("Loop", &["x"], "y"), node("Abss", &["y"], "z"), node("Abss", &["z"], "w")], "w"),
    );
    write("circle.onnx", network(vec![node("Add", &["x", "b"], "a"), node("Abs", &["a"], "b")], "b"));
    write("missing.onnx", network(vec![node("Add", &["x", "nothing"], "y")], "y"));
    write("twice.onnx", network(vec![node("Abs", &["x"], "y"), node("Neg", &["x"], "y")], "y"));
    for (file, code, said) in [
        ("right.onnx", 0, "y: equal"),
        ("wrong.onnx", 1, "should be 1"),
        ("unknown.onnx", 3, "Abss × 2"),
        ("circle.onnx", 1, "its own output"),
        ("missing.onnx", 1, "nothing gives its input nothing"),
        ("twice.onnx", 1, "both give y"),
        ("data/test_data_set_0/input_0.pb", 1, "--into"),
    ] {
        let (found, text) = import(&folder, &[file, "--verify", "data"]);
        assert!(found == code && text.contains(said) && !text.contains("panicked"), "{file}: {found} {text}");
    }
    let (_, text) = import(&folder, &["nothing.onnx"]);
    assert_eq!(text.matches("nothing.onnx").count() + text.matches("No such file").count(), 2, "{text}");
    let (code, text) = import(&folder, &["right.onnx", "--verify", "."]);
    assert!(code == 1 && text.contains("test_data_set_0"), "{text}");
}
