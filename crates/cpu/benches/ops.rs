//! The time of every operation of the table by itself: `cargo bench -p kiln-cpu [-- FILTER]`. Compare numbers of one
//! run only.

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_device::{Argument, Output};
use kiln_ir::{Data, Scalar};
use kiln_testkit::{Speed, speed_cases};

static CASES: LazyLock<Vec<Speed>> = LazyLock::new(speed_cases);

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.iter().map(|case| case.name.as_str()))]
fn op(bencher: Bencher, name: &str) {
    let Some(speed) = CASES.iter().find(|case| case.name == name) else { return };
    let problem = speed.case().problem().expect(name);
    let cpu = kiln_cpu::open().unwrap().remove(0);
    let program = Arc::new(kiln_compile::compile(&problem.graph, cpu.target()).unwrap());
    let mut executable = cpu.load(program.clone()).expect(name);
    let arguments: Vec<Argument> = problem.inputs.iter().map(Argument::of).collect();
    let filled = program.outputs.iter().map(|(shape, dtype)| (shape.elements(), *dtype));
    let mut outputs: Vec<Data> =
        filled.map(|(elements, dtype)| Data::filled(dtype, elements, Scalar::Int(0))).collect();
    bencher.counter(ItemsCount::new(speed.elements)).bench_local(|| {
        let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
        executable.run(&arguments, &[], &mut targets).expect(name);
    });
}
