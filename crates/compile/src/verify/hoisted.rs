//! Whether what hoisted kernels store stays as it is until they run again.
//!
//! They run only when a variable changed that they read. So they read nothing else but each other's results, and what
//! later kernels read of these nobody else writes over.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::program::{BufferId, BufferPlace, Program};

use super::Violation;

/// Checks the hoisted kernels against all others.
pub(super) fn check(program: &Program) -> Result<(), Violation> {
    let Some((hoisted, others)) = program.kernels.split_at_checked(program.hoisted) else {
        return Err(format!("{} kernels are hoisted, of {}", program.hoisted, program.kernels.len()));
    };
    let mut stored: BTreeSet<BufferId> = BTreeSet::new();
    for (position, kernel) in hoisted.iter().enumerate() {
        let refuse = |does: &str, id: BufferId| {
            Err(format!(
                "kernel {position} ({}) is hoisted and {does} {}",
                kernel.label,
                program.buffer_name(id)
            ))
        };
        for id in kernel.work.reads().into_iter().map(|view| view.buffer) {
            let invariant = match program.buffers[id].place {
                BufferPlace::Variable(variable) => !program.written[variable],
                BufferPlace::Arena(_) => stored.contains(&id),
                BufferPlace::Input(_) | BufferPlace::Output(_) | BufferPlace::Slice { .. } => false,
            };
            if !invariant {
                return refuse("reads", id);
            }
        }
        for id in kernel.work.writes().into_iter().map(|view| view.buffer) {
            if !matches!(program.buffers[id].place, BufferPlace::Arena(_)) {
                return refuse("writes", id);
            }
            stored.insert(id);
        }
    }
    let read_later: BTreeSet<BufferId> = others
        .iter()
        .flat_map(|kernel| kernel.work.reads())
        .map(|view| program.root(view.buffer))
        .filter(|id| stored.contains(id))
        .collect();
    for (position, kernel) in (program.hoisted..).zip(others) {
        for id in kernel.work.writes().into_iter().map(|view| view.buffer) {
            let overlaps = |kept: &&BufferId| overlap(&arena(program, **kept), &arena(program, id));
            if let Some(&kept) = read_later.iter().find(overlaps) {
                let (kept, label) = (program.buffer_name(kept), &kernel.label);
                return Err(format!(
                    "kernel {position} ({label}) writes over {kept}, which a hoisted one stores"
                ));
            }
        }
    }
    Ok(())
}

/// The bytes of the arena that a buffer takes; none where it is elsewhere.
fn arena(program: &Program, id: BufferId) -> Range<usize> {
    let buffer = &program.buffers[program.root(id)];
    match buffer.place {
        BufferPlace::Arena(offset) => offset..offset + buffer.elements * buffer.dtype.size(),
        BufferPlace::Input(_)
        | BufferPlace::Variable(_)
        | BufferPlace::Output(_)
        | BufferPlace::Slice { .. } => 0..0,
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use kiln_ir::op::UnaryOp;
    use kiln_ir::{DType, Data, Expr, Graph};
    use kiln_testkit::problem::HeldVariable;

    use crate::program::{BufferPlace, Program};
    use crate::target::Target;
    use crate::verify;

    /// `x · rsqrt(v)`: one hoisted kernel and one that isn't.
    fn scaled() -> Program {
        let x = Expr::input(0, [8], DType::F32);
        let (_, v) = HeldVariable::new("v", [8], Data::F32(vec![1.0; 8]));
        let y = x * v.unary(UnaryOp::Rsqrt);
        let (graph, _) = Graph::trace(&[([8].into(), DType::F32)], &[y], &[]).unwrap();
        let program = crate::compile(&graph, &Target::plain("test")).unwrap();
        assert_eq!((program.hoisted, program.kernels.len()), (1, 2), "{program}");
        program
    }

    fn refusal(change: impl FnOnce(&mut Program)) -> String {
        let mut program = scaled();
        change(&mut program);
        verify::program(&program, &Target::plain("test")).unwrap_err().to_string()
    }

    #[test]
    fn what_is_hoisted_reads_invariants_and_nobody_writes_over_it() {
        assert!(refusal(|program| program.hoisted = 3).contains("3 kernels are hoisted, of 2"));
        assert!(refusal(|program| program.hoisted = 2).contains("is hoisted and reads in0"));
        assert!(refusal(|program| program.written[0] = true).contains("is hoisted and reads v"));
        let over = refusal(|program| {
            let kept = program.kernels[0].work.writes()[0].buffer;
            let result = program.kernels[1].work.writes()[0].buffer;
            program.buffers[result].place = program.buffers[kept].place;
            assert!(matches!(program.buffers[kept].place, BufferPlace::Arena(_)));
        });
        assert!(over.contains("which a hoisted one stores"), "{over}");
    }
}
