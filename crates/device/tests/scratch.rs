use kiln_ir::*;
#[test]
fn scratch() {
    let name = std::env::var("CASE").unwrap();
    let p = if let Ok(seed) = name.parse::<u64>() {
        kiln_testkit::random_graph(seed)
    } else {
        let c = kiln_testkit::cases()
            .into_iter()
            .find(|c| {
                name.ends_with(&c.name) && (name == c.name || name == format!("derivative of {}", c.name))
            })
            .unwrap();
        if name.starts_with("deriv") {
            kiln_testkit::gradcheck::derivative_of(c).problem().unwrap()
        } else {
            c.problem().unwrap()
        }
    };
    let prog = kiln_compile::compile(&p.graph);
    println!("{}\n{prog}", p.graph);
    for k in &prog.kernels {
        if let kiln_compile::program::Work::Fused(f) = &k.work {
            println!("{}: {f}", k.label);
        }
    }
    kiln_device::set_threads(1);
    let mut e = kiln_device::cpu().load(std::sync::Arc::new(prog.clone())).unwrap();
    let mut outs: Vec<Data> =
        prog.outputs.iter().map(|(s, d)| Data::filled(*d, s.elements(), Scalar::Int(1))).collect();
    let ins: Vec<_> = p.inputs.iter().map(kiln_device::Argument::from_data).collect();
    let mut t: Vec<_> = outs.iter_mut().map(kiln_device::Output::from_data).collect();
    e.run(&ins, &[], &mut t).unwrap();
    drop(t);
    for (a, b) in outs.iter().zip(&p.oracle().unwrap().outputs) {
        println!("found {a:?}\nwant  {b:?}");
    }
}
