//! What every pass of the compiler has in common: a name, a check of what it leaves in debug builds, and a line about what
//! it did where `KILN_LOG=passes` asks for it.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use crate::check::check;
use crate::error::Result;
use crate::graph::Graph;

/// What passes work on.
pub trait Subject {
    /// What must hold of it between two passes.
    ///
    /// # Errors
    /// What doesn't.
    fn check(&self) -> Result<(), String>;

    /// How large it is, for people: `12 nodes`.
    fn size(&self) -> String;
}

impl Subject for Graph {
    fn check(&self) -> Result<(), String> {
        check(self)
    }

    fn size(&self) -> String {
        format!("{} nodes", self.nodes.len())
    }
}

/// A pass says how many changes it made.
#[derive(Debug)]
pub struct Pass<S> {
    /// What it is called in the log and where it breaks something.
    pub name: &'static str,
    /// Does it.
    pub run: fn(&mut S) -> Result<usize>,
}

impl<S: Subject> Pass<S> {
    /// Runs the pass, checks what it leaves and tells of it. Gives how many changes it made.
    ///
    /// # Errors
    /// What the pass finds wrong with its subject.
    pub fn run(&self, subject: &mut S) -> Result<usize> {
        let before = is_logged().then(|| subject.size());
        let start = Instant::now();
        let changes = (self.run)(subject)?;
        let time = start.elapsed().as_micros();
        if let Some(before) = before {
            let told =
                if changes == 0 { "nothing changed".to_string() } else { format!("{changes} changes") };
            log(&format!("{:<16} {before:>14} → {:<14} {time:>8} µs  {told}", self.name, subject.size()));
        }
        if cfg!(debug_assertions)
            && let Err(fault) = subject.check()
        {
            panic!("the pass {} broke something: {fault}", self.name);
        }
        Ok(changes)
    }
}

/// Runs passes in turn, so many times at most, until none of them changes anything.
///
/// # Errors
/// What a pass finds wrong with its subject.
pub fn rounds<S: Subject>(passes: &[Pass<S>], most: usize, subject: &mut S) -> Result<()> {
    let mut idle = 0;
    for pass in passes.iter().cycle().take(most * passes.len()) {
        idle = if pass.run(subject)? == 0 { idle + 1 } else { 0 };
        if idle == passes.len() {
            break;
        }
    }
    Ok(())
}

/// Whether `KILN_LOG` in the environment asks for passes.
fn is_logged() -> bool {
    static LOGGED: OnceLock<bool> = OnceLock::new();
    *LOGGED.get_or_init(|| std::env::var("KILN_LOG").is_ok_and(|log| log.contains("passes")))
}

/// The one place where the compiler writes to the terminal.
fn log(line: &str) {
    // Nobody reads it any more: the compiler goes on.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphNode;
    use crate::{DType, Op, Shape};

    #[test]
    #[should_panic(expected = "the pass forgetful broke something: %0 neg: doesn't take 0 operands")]
    #[cfg(debug_assertions)]
    fn a_pass_that_breaks_a_graph_is_named() {
        let forgets = |graph: &mut Graph| {
            let op = Op::Unary(crate::op::UnaryOp::Neg);
            let (shape, dtype) = (Shape::scalar(), DType::F32);
            graph.nodes.push(GraphNode { op, inputs: Vec::new(), shape, dtype, at: None });
            Ok(1)
        };
        let _ = Pass { name: "forgetful", run: forgets }.run(&mut Graph::default());
    }

    #[test]
    fn rounds_end_when_every_pass_has_nothing_to_do() {
        struct Count(usize);
        impl Subject for Count {
            fn check(&self) -> Result<(), String> {
                Ok(())
            }
            fn size(&self) -> String {
                String::new()
            }
        }
        let down = |it: &mut Count| {
            let before = it.0;
            it.0 = before.saturating_sub(1);
            Ok(before - it.0)
        };
        let mut count = Count(5);
        rounds(&[Pass { name: "down", run: down }], 100, &mut count).unwrap();
        assert_eq!(count.0, 0);
        let mut count = Count(5);
        rounds(&[Pass { name: "down", run: down }], 3, &mut count).unwrap();
        assert_eq!(count.0, 2);
    }
}
