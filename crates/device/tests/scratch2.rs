use kiln_ir::op::*;
use kiln_ir::*;
#[test]
fn scratch2() {
    let x = Expr::input(0, [3, 5], DType::F64);
    let y = x.cast(DType::F32).unary(UnaryOp::Neg);
    let z = y.sum(&[0]);
    let a = x.sum(&[0]);
    let (g, _) = Graph::trace(&[([3, 5].into(), DType::F64)], &[z, a, y], &[]).unwrap();
    let prog = kiln_compile::compile(&g);
    println!("{prog}");
    kiln_device::set_threads(1);
    let mut e = kiln_device::cpu().load(std::sync::Arc::new(prog.clone())).unwrap();
    let d = Data::F64((0..15).map(|x| x as f64).collect());
    let mut outs: Vec<Data> =
        prog.outputs.iter().map(|(s, d)| Data::filled(*d, s.elements(), Scalar::Int(1))).collect();
    let mut t: Vec<_> = outs.iter_mut().map(kiln_device::Output::from_data).collect();
    e.run(&[kiln_device::Argument::from_data(&d)], &[], &mut t).unwrap();
    drop(t);
    for o in &outs {
        println!("{o:?}");
    }
}
