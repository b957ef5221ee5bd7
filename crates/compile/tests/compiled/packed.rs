//! Products of packed columns: who reads their bytes is known, and how columns and rows lie is checked.

use std::sync::Arc;

use kiln_compile::program::{Matmul, Work};
use kiln_compile::{Target, compile, verify};
use kiln_ir::op::{BlockFormat, VariableHandle};
use kiln_ir::{DType, Data, Expr, Graph};
use kiln_testkit::Problem;
use kiln_testkit::problem::{HeldVariable, held};

const FORMAT: BlockFormat = BlockFormat::Q8_0;
/// Numbers of a column, and its bytes.
const DEPTH: usize = 64;
const BYTES: usize = 68;

/// A variable of three columns.
fn columns() -> (Arc<dyn VariableHandle>, Expr) {
    let bytes = Data::U8((0..3 * BYTES).map(|at| (at % 50) as u8).collect());
    let (variable, was) = HeldVariable::new("blocks", [3, BYTES], bytes);
    (variable, was)
}

/// The product of two rows with them.
fn product(columns: &Expr) -> Expr {
    Expr::input(0, [2, DEPTH], DType::F32).matmul(&columns.unpack(FORMAT).transpose())
}

#[test]
fn bytes_are_overwritten_after_the_product_that_reads_them() {
    let (variable, was) = columns();
    // What overwrites them was written down first, and would be computed first.
    let is = &was + &Expr::input(1, [3, BYTES], DType::U8);
    let declared = [([2, DEPTH].into(), DType::F32), ([3, BYTES].into(), DType::U8)];
    let graph = Graph::trace(&declared, &[product(&was)], &[(variable, is)]).unwrap().0;
    let rows = Data::F32((0..2 * DEPTH).map(|at| (at % 7) as f32 - 3.0).collect());
    let inputs = vec![rows, Data::U8(vec![2; 3 * BYTES])];
    let problem = Problem { name: "overwritten".to_string(), graph, inputs };
    let expected = problem.oracle().unwrap();
    let program = compile(&problem.graph, &Target::plain("test")).unwrap();
    // In place: what the product reads is gone after.
    assert!(program.to_string().contains("Q8_0") && program.kernels.len() == 2, "{program}");
    let inputs: Vec<&Data> = problem.inputs.iter().collect();
    let variables: Vec<Data> = program.variables.iter().map(|variable| held(&**variable).unwrap()).collect();
    let (outputs, updated) = kiln_reference::run(&program, &inputs, &variables).unwrap();
    assert_eq!((outputs, updated), (expected.outputs, expected.updates), "{program}");
}

/// What verification says of the product after a change of it.
fn checked(change: impl FnOnce(&mut Matmul)) -> Option<String> {
    let product = product(&columns().1);
    let graph = Graph::trace(&[([2, DEPTH].into(), DType::F32)], &[product], &[]).unwrap().0;
    let target = Target::plain("test");
    let mut program = compile(&graph, &target).unwrap();
    let works = program.kernels.iter_mut().map(|kernel| &mut kernel.work);
    let mut products = works.filter_map(|work| {
        let Work::Matmul(matmul) = work else { return None };
        matmul.packed.is_some().then_some(matmul)
    });
    change(products.next().unwrap());
    assert!(products.next().is_none());
    verify::program(&program, &target).err().map(|error| error.to_string())
}

#[test]
fn columns_and_rows_that_a_kernel_would_not_find_are_refused() {
    assert_eq!(checked(|_| ()), None);
    for stride in [0, 1, BYTES as isize - 1] {
        let said = checked(|matmul| matmul.b.strides[2] = stride).unwrap();
        assert!(said.contains("packed columns of 68 bytes that don't follow each other"), "{said}");
    }
    let backwards = |matmul: &mut Matmul| {
        matmul.a.offset = DEPTH as isize;
        matmul.a.strides[1] = -(DEPTH as isize);
    };
    let said = checked(backwards).unwrap();
    assert!(said.contains("rows that go backwards"), "{said}");
    // The same row twice is one that a kernel finds.
    assert_eq!(checked(|matmul| matmul.a.strides[1] = 0), None);
}
