//! What is computed again instead of stored: the same bits with less memory, and which tensors of well-known steps are left.

use kiln_compile::program::{BufferPlace, Program};
use kiln_compile::{Target, compile};
use kiln_ir::checkpoint::checkpoint;
use kiln_ir::grad::gradients;
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Data, Expr, Graph};
use kiln_testkit::problem::held;
use kiln_testkit::{Problem, table};

/// A target for which the smallest value is worth it, and the same without.
fn targets() -> [Target; 2] {
    [true, false].map(|recomputes| {
        let mut target = Target::plain("test");
        target.fusion.worth_sharing = 1;
        target.fusion.recomputes = recomputes;
        target
    })
}

fn run(problem: &Problem, program: &Program) -> Vec<Vec<u64>> {
    let inputs: Vec<&Data> = problem.inputs.iter().collect();
    let variables: Vec<Data> = program.variables.iter().map(|v| held(&**v).unwrap()).collect();
    let (outputs, _) = kiln_reference::run(program, &inputs, &variables).unwrap();
    let bits = |data: &Data| data.scalars().iter().map(|x| x.as_f64().to_bits()).collect();
    outputs.iter().map(bits).collect()
}

#[test]
fn what_is_recomputed_comes_to_the_same_bits_in_no_more_memory() {
    let derivatives = table::cases().into_iter().filter(|case| case.differentiable);
    let derivatives = derivatives.map(|case| kiln_testkit::gradcheck::derivative_of(case).problem().unwrap());
    let (mut fired, mut less) = (0, 0);
    for problem in derivatives.chain((0..2000).map(kiln_testkit::random_graph)) {
        let [with, without] = targets().map(|target| compile(&problem.graph, &target).unwrap());
        if with.to_string() == without.to_string() {
            continue;
        }
        let name = &problem.name;
        assert_eq!(run(&problem, &with), run(&problem, &without), "{name}\n{with}\n{without}");
        // What waits for less may run earlier, which moves a few small values of graphs as small as these.
        assert!(with.arena <= without.arena + 64, "{name}\n{with}\n{without}");
        fired += 1;
        less += usize::from(with.arena < without.arena);
    }
    assert!(fired > 100 && less > 20, "it did something to {fired} graphs, and saved memory in {less}");
}

const ROWS: usize = 64;

/// A dense layer of 64 and what follows it, a second one, and the gradients of all: the program, with the one where all is stored.
fn step(activation: impl Fn(&Expr) -> Expr) -> [Program; 2] {
    let shape = [ROWS, ROWS];
    let x: Vec<Expr> = (0..4).map(|position| Expr::input(position, shape, DType::F32)).collect();
    let y = activation(&(&x[0].matmul(&x[1]) + &x[2])).matmul(&x[3]);
    let loss = (&y * &y).sum(&[0, 1]).reshape(());
    let mut outputs = gradients(&loss, &x[1..], None);
    outputs.push(loss);
    let declared = vec![(shape.into(), DType::F32); 4];
    let graph = Graph::trace(&declared, &outputs, &[]).unwrap().0;
    targets().map(|target| compile(&graph, &target).unwrap())
}

/// Dtypes of the large temporaries that the first product writes, or what comes before it.
fn kept(program: &Program) -> Vec<DType> {
    let product = program.kernels.iter().position(|kernel| kernel.label.contains("matmul")).unwrap();
    let writes = program.kernels[..=product].iter().flat_map(|kernel| kernel.work.writes());
    let buffers = writes.map(|view| &program.buffers[view.buffer]);
    let large = buffers.filter(|buffer| buffer.elements == ROWS * ROWS);
    large.filter(|buffer| matches!(buffer.place, BufferPlace::Arena(_))).map(|buffer| buffer.dtype).collect()
}

fn gelu(x: &Expr) -> Expr {
    let inner = (x * 0.5f64.sqrt()).unary(UnaryOp::Erf);
    (x * 0.5) * (inner + 1.0)
}

/// True for half of the elements, by a key.
fn dropout(x: &Expr) -> Expr {
    let counter = Expr::iota([ROWS * ROWS], 0, DType::I64).reshape([ROWS, ROWS]);
    let key = Expr::full([ROWS, ROWS], 7.0, DType::I64);
    let mask = key
        .binary(BinaryOp::Random, &counter)
        .binary(BinaryOp::Lt, &Expr::full([ROWS, ROWS], 0.5, DType::F32));
    mask.select(&(x * 2.0), &x.full_like(0.0))
}

#[test]
fn a_dense_layer_with_gelu_stores_what_goes_in_and_what_comes_out() {
    let [with, without] = step(gelu).map(|program| kept(&program));
    assert_eq!(with, [DType::F32; 2]);
    assert!(without.len() >= 4, "{without:?}");
}

#[test]
fn masks_of_relu_and_dropout_are_computed_again() {
    let relu = |x: &Expr| x.unary(UnaryOp::Relu);
    for (what, [with, without]) in [("relu", step(relu)), ("dropout", step(dropout))] {
        assert!(kept(&without).contains(&DType::Bool), "{what}\n{without}");
        assert_eq!(kept(&with), [DType::F32], "{what}\n{with}");
    }
    // Where dropout follows, ReLU's result isn't in memory, and its mask is a quarter of it.
    let [with, without] = step(|x| dropout(&relu(x))).map(|program| kept(&program));
    assert_eq!((with, without.len()), (vec![DType::F32, DType::Bool], 3));
}

#[test]
fn what_a_checkpoint_forgets_stays_forgotten() {
    let twice = |x: &Expr| gelu(&gelu(x));
    let [plain, _] = step(twice);
    let [with, without] = step(|x| checkpoint(|| twice(x)));
    assert!(with.arena <= without.arena && with.arena <= plain.arena, "{with}\n{without}\n{plain}");
}
