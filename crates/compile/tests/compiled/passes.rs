//! The list of passes: what it logs, and that each leaves something whole (which debug builds check by themselves).

use std::process::Command;

use kiln_compile::passes::{PASSES, Stage};
use kiln_compile::{Target, compile};
use kiln_ir::{DType, Expr, Graph};

fn a_graph() -> Graph {
    let x = Expr::input(0, [2, 3], DType::F32);
    let declared = [(x.shape(), x.dtype())];
    Graph::trace(&declared, &[(&x * &x).sum(&[1])], &[]).unwrap().0
}

/// Asks nothing by itself: [`every_pass_tells_what_it_did`] runs it as a process of its own and reads what it prints.
#[test]
fn compiles_something() {
    assert_eq!(compile(&a_graph(), &Target::plain("test")).unwrap().kernels.len(), 1);
}

#[test]
fn every_pass_tells_what_it_did() {
    let printed = |log: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command
            .args(["--exact", "--nocapture", "passes::compiles_something"])
            .env("KILN_LOG", log)
            .output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let log = printed("passes");
    for step in PASSES {
        let names: Vec<&str> = match step {
            Stage::Rounds(passes, _) => passes.iter().map(|pass| pass.name).collect(),
            Stage::Once(pass) => vec![pass.name],
        };
        for name in names {
            let line = log.lines().find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("nothing of {name} in\n{log}"));
            assert!(line.contains("µs") && line.contains("chang"), "{line}");
        }
    }
    assert!(!printed("").contains("µs"));
}
