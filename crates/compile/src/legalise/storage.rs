//! Memory holds only what the target stores, and kernels are no larger than it allows.

use kiln_ir::{DType, Error, ErrorKind, Result};

use crate::program::{Buffer, BufferPlace, Fused, Instruction, Kernel, Operation, Program, Work};
use crate::target::Target;

/// Gives every buffer a dtype that the target stores, with casts where a body reads it. An argument, output or variable of
/// another dtype is converted by the device where it is handed over.
///
/// `t1: bool`, `v0: bool = load(t1)` without `bool` in memory → `t1: i32`, `v0: i32 = load(t1)`, `v1: bool = cast(v0)`
///
/// # Errors
/// A kernel that touches more buffers than the target allows, or has more loops.
pub fn storage(program: &mut Program, target: &Target) -> Result<usize> {
    let before: Vec<DType> = program.buffers.iter().map(|buffer| buffer.dtype).collect();
    let mut changes = 0;
    for buffer in &mut program.buffers {
        // What can't be stored was refused with the graph.
        let dtype = target.stored(buffer.dtype).unwrap_or(buffer.dtype);
        changes += usize::from(dtype != buffer.dtype);
        buffer.dtype = dtype;
    }
    let computes = |dtype: DType| target.computes.contains(&dtype);
    if changes > 0 || !before.iter().all(|&dtype| computes(dtype)) {
        lay_out(program, target.alignment);
        let runs: Vec<usize> = (0..program.kernels.len()).map(|kernel| program.runs(kernel)).collect();
        let Program { buffers, kernels, .. } = program;
        for (Kernel { work, bytes, .. }, runs) in kernels.iter_mut().zip(runs) {
            work.each_view(|view| view.dtype = buffers[view.buffer].dtype);
            match work {
                Work::Fused(fused) => legal_body(fused, &before, computes),
                Work::Matmul(matmul) => legal_body(&mut matmul.epilogue, &before, computes),
                Work::Conv(conv) => legal_body(&mut conv.epilogue, &before, computes),
                Work::Window(_)
                | Work::Gather(_)
                | Work::Scatter(..)
                | Work::ArgReduce(..)
                | Work::CumSum(_)
                | Work::Unpack(_)
                | Work::Attention(_)
                | Work::ArgSort(..)
                | Work::Custom(_) => {}
            }
            *bytes = work.traffic(buffers) * runs as u64;
        }
    }
    program.kernels.iter().try_for_each(|kernel| fits(kernel, target))?;
    Ok(changes)
}

/// Gives every temporary a place of its own anew.
fn lay_out(program: &mut Program, alignment: usize) {
    program.arena = 0;
    for Buffer { place, dtype, elements } in &mut program.buffers {
        if let BufferPlace::Arena(offset) = place {
            *offset = program.arena;
            program.arena += (*elements * dtype.size()).next_multiple_of(alignment);
        }
    }
}

/// Rewrites a body whose views have their new dtypes already; `before` has those that its buffers had.
fn legal_body(fused: &mut Fused, before: &[DType], computes: impl Fn(DType) -> bool) {
    let mut body: Vec<Instruction> = Vec::with_capacity(fused.body.len());
    let mut now: Vec<usize> = Vec::with_capacity(fused.body.len());
    for Instruction { operation, dtype, full } in std::mem::take(&mut fused.body) {
        let operation = operation.with_operands(|value| now[value]);
        if let Operation::Load(load) = operation {
            let (view, meant) = (&fused.loads[load], before[fused.loads[load].buffer]);
            body.push(Instruction { operation, dtype: view.dtype, full });
            if view.dtype != meant && computes(meant) {
                let loaded = Operation::Cast(body.len() - 1);
                body.push(Instruction { operation: loaded, dtype: meant, full });
            }
        } else if let Operation::Cast(value) = operation
            && !computes(dtype)
            && body[value].full == full
        {
            // A value on its way out, which the store converts.
            now.push(value);
            continue;
        } else {
            let dtype = if let (Operation::Cast(value), false) = (&operation, computes(dtype)) {
                body[*value].dtype
            } else {
                dtype
            };
            body.push(Instruction { operation, dtype, full });
        }
        now.push(body.len() - 1);
    }
    fused.body = body;
    for store in &mut fused.stores {
        store.value = now[store.value];
    }
}

fn fits(kernel: &Kernel, target: &Target) -> Result<()> {
    let refuse = |what: String, mend: &str| {
        let error = Error::new(ErrorKind::Device, &kernel.label, format!("{} {what}; {mend}", target.name));
        Err(match kernel.at {
            Some(at) => error.at(at),
            None => error.nowhere(),
        })
    };
    let buffers = kernel.work.buffers().len();
    if buffers > target.most_bindings {
        let what = format!("lets a kernel touch {} buffers, and this needs {buffers}", target.most_bindings);
        return refuse(what, "run it on another device");
    }
    let views = kernel.work.reads().into_iter().chain(kernel.work.writes());
    let loops = views.map(|view| view.strides.len()).max().unwrap_or(0);
    if loops > target.most_loops {
        let what = format!("lets a kernel have {} loops, and this has {loops}", target.most_loops);
        return refuse(what, "reshape some of its axes into one");
    }
    Ok(())
}
