//! Random graphs: they are well-formed, tame and varied, and a simplified one gives what it gave.

use std::collections::HashSet;

use kiln_ir::check::check;
use kiln_ir::simplify::simplify;
use kiln_testkit::table::{KINDS, kind};
use kiln_testkit::{Tolerance, assert_close, random_graph};

#[test]
fn a_simplified_random_graph_gives_the_same() {
    let mut kinds = HashSet::new();
    for seed in 0..300 {
        let problem = random_graph(seed);
        check(&problem.graph).unwrap_or_else(|fault| panic!("{}: {fault}", problem.name));
        let before = problem.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        let simple = problem.with_graph(simplify(&problem.graph));
        let after = simple.oracle().unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        for (found, expected) in after.outputs.iter().zip(&before.outputs) {
            // Powers become products and roots, whose last bit may be better.
            let tolerance = Tolerance { absolute: 1e-5, relative: 1e-5 };
            assert_close(&format!("{}\n{}", problem.name, problem.graph), found, expected, tolerance);
            let tame = |x: &kiln_ir::Scalar| x.as_f64().is_finite();
            assert!(expected.scalars().iter().all(tame), "{} isn't tame\n{}", problem.name, problem.graph);
        }
        kinds.extend(problem.graph.nodes.iter().map(|node| kind(&node.op)));
    }
    // Rules and stopped gradients leave no trace; variables, custom operations and packed numbers have tests of their own.
    let elsewhere = ["const", "var", "stop_gradient", "rule", "custom", "unpack"];
    let missing: Vec<_> =
        KINDS.iter().filter(|kind| !kinds.contains(*kind) && !elsewhere.contains(kind)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

#[test]
fn one_seed_gives_one_graph() {
    assert_eq!(random_graph(7).graph, random_graph(7).graph);
    assert_ne!(random_graph(7).graph, random_graph(8).graph);
}
