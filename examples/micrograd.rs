//! The worked example of micrograd's README with kiln's scalars: `cargo run --example micrograd`.
//!
//! Prints the value and both gradients, checks them, and writes the graph for Graphviz.

use kiln::prelude::*;

fn main() -> Result<()> {
    let a = Tensor::from(-4.0);
    let b = Tensor::from(2.0);
    let mut c = &a + &b;
    let mut d = &a * &b + b.pow(3);
    c += &c + 1;
    c += 1 + &c + (-&a);
    d += &d * 2 + (&b + &a).relu();
    d += 3 * &d + (&b - &a).relu();
    let e = &c - &d;
    let f = e.pow(2);
    let mut g = &f / 2.0;
    g += 10.0 / &f;

    let gradients = g.grad(&[&a, &b]);
    println!("g      {:.4}", g);
    println!("dg/da  {:.4}", gradients[0]);
    println!("dg/db  {:.4}", gradients[1]);

    let near = |x: &Tensor, expected: f64| -> Result<bool> { Ok((x.item()? - expected).abs() < 5e-5) };
    assert!(near(&g, 24.7041)? && near(&gradients[0], 138.8338)? && near(&gradients[1], 645.5773)?);

    // Every node of the graph is a tensor, so the drawing can carry names and values.
    let names = [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d"), (&e, "e"), (&f, "f"), (&g, "g")];
    let note = |node: &kiln::ir::Node| {
        let named = names.iter().find(|(tensor, _)| tensor.expr().node().is_ok_and(|own| own.id == node.id));
        named.map(|(tensor, name)| format!("{name} = {tensor:.4}"))
    };
    let drawing = kiln::ir::print::dot_of(&[g.expr().clone()], &note)?;
    let path = std::env::temp_dir().join("micrograd.dot");
    match std::fs::write(&path, &drawing) {
        Ok(()) => println!("graph  dot -Tsvg {}", path.display()),
        Err(error) => println!("graph  not written to {}: {error}", path.display()),
    }
    Ok(())
}
