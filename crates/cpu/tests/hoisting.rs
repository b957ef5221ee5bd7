//! What follows from variables alone is computed when one of them was written, and is then what it would be if it were
//! computed at every run.

mod kit;

use std::sync::Arc;

use kiln_device::{Argument, Host, Memory, Output};
use kiln_ir::eval::evaluate;
use kiln_ir::op::{BinaryOp, ConvSpec, UnaryOp};
use kiln_ir::{DType, Data, Expr, Scalar, Shape};
use kiln_testkit::problem::held;
use kiln_testkit::rng::{Range, Rng};
use kiln_testkit::{Problem, Tolerance, close};
use kit::cpu;

/// The same numbers, each at the place behind its own.
fn turned(data: &Data) -> Data {
    let mut bytes = data.to_le_bytes();
    let element = data.dtype().size().min(bytes.len());
    bytes.rotate_right(element);
    Data::from_le_bytes(data.dtype(), &bytes)
}

/// How near results should come where nothing else is said: by the coarsest dtype on the way.
fn near(problem: &Problem) -> Tolerance {
    let floats = problem.graph.nodes.iter().map(|node| node.dtype).filter(|dtype| dtype.is_float());
    let coarsest = floats.map(Tolerance::of).max_by(|a, b| a.relative.total_cmp(&b.relative));
    coarsest.unwrap_or(Tolerance::of(DType::F64)).times(8.0)
}

/// Runs a problem twice on the same variables and then on others, and compares each time. Whether the program has a
/// hoisted part.
fn check(problem: &Problem, tolerance: Tolerance) -> bool {
    let program = Arc::new(kiln_compile::compile(&problem.graph, cpu().target()).unwrap());
    let mut executable = cpu().load(program.clone()).unwrap();
    let mut values: Vec<Data> = program.variables.iter().map(|v| held(&**v).unwrap()).collect();
    let memories: Vec<Arc<dyn Memory>> =
        values.iter().map(|data| cpu().allocate(data.len() * data.dtype().size()).unwrap()).collect();
    let write = |position: usize, data: &Data| {
        memories[position].write(Host::of(data).bytes()).unwrap();
    };
    values.iter().enumerate().for_each(|(position, data)| write(position, data));
    let mut outputs: Vec<Data> = program
        .outputs
        .iter()
        .map(|(shape, dtype)| Data::filled(*dtype, shape.elements(), Scalar::Int(1)))
        .collect();
    let inputs: Vec<Argument> = problem.inputs.iter().map(Argument::of).collect();
    let references: Vec<&Data> = problem.inputs.iter().collect();
    let meant = |values: &[Data]| {
        let value = |variable: &dyn kiln_ir::op::VariableHandle| {
            let position = program.variables.iter().position(|other| other.name() == variable.name());
            position.map_or_else(|| held(variable), |position| Ok(values[position].clone()))
        };
        evaluate(&problem.graph, &references, &value).unwrap().outputs
    };
    let mut expected = meant(&values);
    for round in 0..3 {
        if round == 2 && !values.is_empty() {
            let position = problem.name.len() % values.len();
            values[position] = turned(&values[position]);
            write(position, &values[position]);
            expected = meant(&values);
        }
        let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
        executable.run(&inputs, &memories, &mut targets).unwrap();
        for (position, (found, expected)) in outputs.iter().zip(&expected).enumerate() {
            if let Err(message) = close::compare(found, expected, tolerance) {
                panic!("{}, run {round}, output {position}: {message}\n{program}", problem.name);
            }
        }
    }
    program.hoisted > 0
}

#[test]
fn random_graphs_keep_up_with_their_variables() {
    let mut hoisted = 0;
    for seed in 0..300 {
        let problem = kiln_testkit::random_graph(seed);
        let (half, most) = (seed as usize % 2, seed as usize % 3);
        for problem in [problem.with_variables(|at| at % 2 == half), problem.with_variables(|at| at != most)]
        {
            hoisted += usize::from(check(&problem, near(&problem)));
        }
    }
    assert!(hoisted > 75, "only {hoisted} programs had anything to keep");
}

/// A part of the table: what all of it means without variables is tested elsewhere.
#[test]
fn cases_of_the_op_table_keep_up_with_their_variables() {
    for (number, case) in kiln_testkit::cases().into_iter().enumerate() {
        let contraction = ["conv", "matmul"].iter().any(|name| case.name.starts_with(name));
        if (contraction && number % 3 == 0) || number % 23 == 0 {
            let problem = case.problem().unwrap().with_variables(|position| position == 1 - number % 2);
            check(&problem, case.tolerance.times(4.0));
        }
    }
}

/// A convolution as networks have them: batch norm, a residual connection, and a clamp.
struct Block {
    channels: [usize; 2],
    size: usize,
    window: usize,
    stride: usize,
    groups: usize,
    residual: bool,
}

const BLOCKS: [Block; 9] = [
    Block { channels: [3, 24], size: 13, window: 3, stride: 2, groups: 1, residual: false },
    Block { channels: [24, 40], size: 9, window: 1, stride: 1, groups: 1, residual: true },
    Block { channels: [40, 40], size: 12, window: 3, stride: 1, groups: 40, residual: false },
    Block { channels: [33, 33], size: 17, window: 5, stride: 2, groups: 33, residual: true },
    Block { channels: [32, 48], size: 14, window: 3, stride: 1, groups: 1, residual: true },
    Block { channels: [97, 96], size: 4, window: 3, stride: 1, groups: 1, residual: true },
    Block { channels: [300, 300], size: 3, window: 1, stride: 1, groups: 1, residual: false },
    Block { channels: [130, 70], size: 5, window: 3, stride: 2, groups: 1, residual: true },
    Block { channels: [12, 18], size: 8, window: 3, stride: 1, groups: 3, residual: true },
];

fn block(rng: &mut Rng, batch: usize, b: &Block) -> Problem {
    let mut inputs: Vec<(Shape, Data)> = Vec::new();
    let mut value = |shape: &[usize], low: f64| {
        let shape = Shape::from(shape);
        let data = rng.data(&shape, DType::F32, Range::Between(low, 1.0));
        inputs.push((shape.clone(), data));
        Expr::input(inputs.len() - 1, shape, DType::F32)
    };
    let [from, to] = b.channels;
    let out = (b.size + 2 * (b.window / 2) - b.window) / b.stride + 1;
    let x = value(&[batch, from, b.size, b.size], -1.0);
    let other = value(&[batch, to, out, out], -1.0);
    // Stored window first, as parameters are.
    let weight = value(&[b.window, b.window, from / b.groups, to], -0.2).permute(&[3, 2, 0, 1]);
    let column = |of: Expr| of.reshape([1, to, 1, 1]);
    let (mean, variance) = (column(value(&[to], -0.5)), column(value(&[to], 0.3)));
    let (gamma, beta) = (column(value(&[to], 0.5)), column(value(&[to], -0.5)));
    let spec = ConvSpec {
        stride: vec![b.stride; 2],
        pad: vec![(b.window / 2, b.window / 2); 2],
        dilation: vec![1; 2],
        groups: b.groups,
    };
    let y = x.conv(&weight, &spec).binary(BinaryOp::Sub, &mean).binary(BinaryOp::Mul, &gamma);
    let deviation = variance.binary_scalar(BinaryOp::Add, 1e-5).unary(UnaryOp::Rsqrt);
    let y = y.binary(BinaryOp::Mul, &deviation).binary(BinaryOp::Add, &beta);
    let y = if b.residual { y.binary(BinaryOp::Add, &other).unary(UnaryOp::Relu) } else { y };
    let y = y.binary_scalar(BinaryOp::Max, -0.25).binary_scalar(BinaryOp::Min, 0.75);
    // A later reader keeps the result from being an output of its own order.
    let y = y.sum(&[2, 3]);
    let name = format!("{batch} × {:?} of {}², window {}, stride {}", b.channels, b.size, b.window, b.stride);
    Problem::trace(name, &inputs, &[y]).unwrap()
}

#[test]
fn blocks_of_networks_keep_up_with_their_parameters() {
    let mut rng = Rng::new(11);
    for b in &BLOCKS {
        for batch in [1, 3] {
            let problem = block(&mut rng, batch, b);
            let hoisted = check(&problem.with_variables(|position| position >= 2), near(&problem).times(8.0));
            assert!(hoisted, "{}: its scale and shift follow from parameters", problem.name);
        }
    }
}

/// Batch norm behind a convolution is one multiplication and one addition, whose operands aren't computed again.
#[test]
fn a_chain_of_scales_and_shifts_becomes_one_of_each() {
    let problem = block(&mut Rng::new(1), 1, &BLOCKS[0]).with_variables(|position| position >= 2);
    let program = kiln_compile::compile(&problem.graph, cpu().target()).unwrap();
    let labels: Vec<&str> =
        program.kernels[program.hoisted..].iter().map(|kernel| kernel.label.as_str()).collect();
    assert!(labels.iter().any(|label| label.starts_with("conv+mul+add+max+min")), "{labels:?}");
}

/// Outputs that follow from variables alone belong to the caller, who may give other memory each time.
#[test]
fn an_output_is_written_at_every_run() {
    let (shape, data) = (Shape::from([4]), Data::F32(vec![1.0, 2.0, 3.0, 4.0]));
    let x = Expr::input(0, shape.clone(), DType::F32);
    let doubled = x.binary(BinaryOp::Add, &x);
    let problem = Problem::trace("doubled", &[(shape, data)], &[doubled]).unwrap().with_variables(|_| true);
    let program = Arc::new(kiln_compile::compile(&problem.graph, cpu().target()).unwrap());
    let mut executable = cpu().load(program).unwrap();
    let memory = cpu().allocate(16).unwrap();
    memory.write(Host::of(&problem.inputs[0]).bytes()).unwrap();
    for _ in 0..3 {
        let mut out = [0f32; 4];
        let inputs = [Argument::of(&problem.inputs[0])];
        executable.run(&inputs, std::slice::from_ref(&memory), &mut [Output::new(&mut out)]).unwrap();
        assert_eq!(out, [2.0, 4.0, 6.0, 8.0]);
    }
}
