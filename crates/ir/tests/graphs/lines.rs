//! Which line of the user's an expression belongs to, and what is refused where it is built.

use kiln_ir::op::UnaryOp;
use kiln_ir::{DType, Expr, grad, line};

#[test]
fn a_gradient_belongs_to_the_line_of_what_it_is_the_gradient_of() {
    let x = Expr::input(0, [3], DType::F32);
    let y = x.unary(UnaryOp::Exp);
    let line = y.node().unwrap().at.line();
    let loss = y.sum(&[0]);
    let gradient = grad::gradients(&loss, &[x], None).remove(0);
    assert_eq!(gradient.node().unwrap().at.line(), line);
    assert!(gradient.node().unwrap().at.file().ends_with("lines.rs"));
}

#[test]
fn an_axis_that_is_not_there_is_refused() {
    let x = Expr::input(0, [3, 4], DType::F32);
    for poisoned in [x.narrow(2, 0, 1), x.flip(&[0, 5])] {
        let error = poisoned.error().unwrap().to_string();
        assert!(error.contains("there is no axis") && error.contains("lines.rs"), "{error}");
    }
}

#[test]
fn a_line_that_others_build_for_ends_with_them_also_by_a_panic() {
    let line_of = |value: &Expr| value.node().unwrap().at.line();
    let x = Expr::input(0, [3], DType::F32);
    let y = x.unary(UnaryOp::Exp);
    let (outer, inner) = (x.node().unwrap().at, y.node().unwrap().at);
    line::on_behalf_of(outer, || {
        assert_eq!(line::on_behalf_of(inner, || line_of(&x.unary(UnaryOp::Neg))), inner.line());
        assert_eq!(line_of(&x.unary(UnaryOp::Neg)), outer.line(), "the outer line is back");
    });
    let panicked = std::panic::catch_unwind(|| line::on_behalf_of(outer, || panic!("expected by this test")));
    assert!(panicked.is_err());
    let here = std::panic::Location::caller().line() + 1;
    assert_eq!(line_of(&x.unary(UnaryOp::Neg)), here);
}
