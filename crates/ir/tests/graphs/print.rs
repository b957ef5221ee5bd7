//! Graphs as text and drawings, and malformed ones as faults.

use kiln_ir::check::check;
use kiln_ir::op::UnaryOp;
use kiln_ir::print::{dot, dot_of};
use kiln_ir::{DType, Data, Expr, Graph, Op, Result, Scalar};
use kiln_testkit::problem::HeldVariable;

fn small() -> Result<Graph> {
    let (variable, weight) = HeldVariable::new("fc.weight", [3, 2], Data::F32(vec![0.0; 6]));
    let y = Expr::input(0, [4, 3], DType::F32).matmul(&weight);
    let total = y.sum(&[0, 1]);
    Ok(Graph::trace(&[([4, 3].into(), DType::F32)], &[y, total], &[(variable, weight * 0.5)])?.0)
}

#[test]
fn a_graph_reads_as_text() -> Result<()> {
    let text = small()?.to_string();
    let lines: Vec<&str> = text.lines().map(|line| line.split("   ").next().unwrap_or("")).collect();
    assert_eq!(lines[0], "%0 f32[3, 2] = var(fc.weight)");
    assert_eq!(lines[1], "%1 f32[4, 3] = input(0)");
    assert_eq!(lines[2], "%2 f32[4, 2] = matmul(%1, %0)");
    assert_eq!(lines[3], "%3 f32[1, 1] = sum(%2, axes [0, 1])");
    assert!(text.contains("print.rs:12"), "{text}");
    assert!(text.ends_with("fc.weight := %5\nreturn %2, %3\n"), "{text}");
    Ok(())
}

#[test]
fn a_graph_is_drawn() -> Result<()> {
    let text = dot(&small()?);
    assert!(text.contains("label=\"matmul\\nf32[4, 2]\""), "{text}");
    assert!(text.contains("n1 -> n2;") && text.contains("fc.weight :="), "{text}");
    Ok(())
}

#[test]
fn an_expression_is_drawn_with_notes() -> Result<()> {
    let a = Expr::full((), 2.0, DType::F64);
    let b = a.unary(UnaryOp::Tanh);
    let note =
        |node: &kiln_ir::Node| (node.op == Op::Fill(Scalar::Float(2.0))).then(|| "a \"two\"".to_string());
    let text = dot_of(&[b], &note)?;
    assert!(text.contains("label=\"a \\\"two\\\"\\nfill 2\\nf64[]\", style=filled"), "{text}");
    assert!(dot_of(&[Expr::input(0, [2], DType::F32).matmul(&a)], &note).is_err());
    Ok(())
}

#[test]
fn malformed_graphs_are_named() -> Result<()> {
    let good = small()?;
    assert_eq!(check(&good), Ok(()));
    let broken = |harm: fn(&mut Graph)| {
        let mut graph = good.clone();
        harm(&mut graph);
        check(&graph).err().unwrap_or_default()
    };
    assert!(
        broken(|g| g.nodes[2].inputs[0] = 2).contains("%2 matmul: its operand %2 doesn't stand before it")
    );
    assert!(broken(|g| g.nodes[2].inputs.truncate(1)).contains("doesn't take 1 operands"));
    assert!(broken(|g| g.nodes[3].shape = [4].into()).contains("should be f32[1, 1]"));
    assert!(broken(|g| g.nodes[1].op = Op::Input(1)).contains("stands for argument None"));
    assert!(broken(|g| g.outputs[0] = 99).contains("the output %99 doesn't exist"));
    assert!(broken(|g| g.updates[0].1 = 3).contains("the update of \"fc.weight\""));
    Ok(())
}
