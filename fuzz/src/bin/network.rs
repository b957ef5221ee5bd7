//! ONNX files, with a file of weights beside them. A network that is taken is walked through once, with zeros of the sizes it says.
#![no_main]

use kiln::onnx::{Export, OnnxDType, Value, load, parse};
use kiln::prelude::*;
use kiln_fuzz::{file, fuzz_target, path, seeds};

// Files of a few nodes, which the tests damage too.
#[allow(dead_code)]
#[path = "../../../tests/hostile/nets.rs"]
mod nets;

fn all() -> Vec<Vec<u8>> {
    let rows = [
        ("conv 2 3 padding 1, batch-norm, relu, pool 2, flatten, dense 3, softmax", &[1, 6, 6][..]),
        ("lstm 3, last, layer-norm, dense 2", &[4, 2]),
        ("attention 2, mean-over-time, hard-swish", &[3, 4]),
    ];
    let one = |(text, row): (&str, &[usize])| {
        let layers: Sequential = text.parse().unwrap();
        layers.build([&[1], row].concat()).unwrap();
        let form = data::Form::numbers(row);
        let task = kiln::model::Task::plain_numbers(vec![String::new()]);
        let about = kiln::model::About::new(&layers, &form, task).unwrap();
        let path = path("good.onnx");
        kiln::Model::new(layers, about)
            .save_onnx(&path, &Export { preprocessing: false, ..Export::default() })
            .unwrap();
        std::fs::read(path).unwrap()
    };
    file("weights.bin", &[0; 16]);
    rows.into_iter().map(one).chain(nets::good()).collect()
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let Ok(network) = load(file("input.onnx", bytes)) else { return };
    let _ = parse(network.structure());
    let zeros = |port: &kiln::onnx::Port| {
        let shape: Vec<usize> = port.sizes.iter().map(|size| size.unwrap_or(1).min(8)).collect();
        let element = port.element.unwrap_or(OnnxDType::F32);
        let count = shape.iter().product::<usize>();
        match element.dtype() {
            Some(dtype) if count <= 4096 => Value::new(Data::filled(dtype, count, 0i64.into()), &shape, element),
            _ => Value::texts(vec![String::new()], &[1]),
        }
    };
    let inputs = network.inputs().iter().map(zeros).collect();
    let _ = network.run(inputs, &Context::inference());
});
