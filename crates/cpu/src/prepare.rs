//! From a kernel of a program to something that runs: all that can be decided before the first run is decided here.

use kiln_compile::program::{BufferId, Fused, Kernel, Matmul, Work};
use kiln_ir::Result;

use super::call::{KernelCall, Lasting, PreparedKernel};
use super::index::{arg_reduce, arg_sort, cum_sum, custom, gather, scatter};
use super::simd::level;
use super::{attention, contraction, pool, unpack};

/// Makes a kernel of a checked program ready to run. `lasting` says how long buffers stay the same.
pub(crate) fn prepare(kernel: &Kernel, lasting: impl Fn(BufferId) -> Lasting) -> Result<PreparedKernel> {
    let call: KernelCall = match &kernel.work {
        Work::Fused(Fused { loops, reduced, .. }) if empty(loops, reduced) => Box::new(|_| Ok(())),
        Work::Matmul(Matmul { epilogue, .. }) if empty(&epilogue.loops, &epilogue.reduced) => {
            Box::new(|_| Ok(()))
        }
        Work::Fused(work) => contraction::fused(work, level()),
        Work::Matmul(work) => return contraction::matmul(work, level(), lasting(work.b.buffer)),
        Work::Conv(work) => return contraction::conv(work, level(), lasting(work.b.buffer)),
        Work::Window(work) => pool::window(work),
        Work::Gather(work) => gather::prepare(kernel, work),
        Work::Scatter(work, mode) => scatter::prepare(kernel, work, *mode)?,
        Work::ArgReduce(op, work) => arg_reduce::prepare(kernel, *op, work)?,
        Work::CumSum(work) => cum_sum::prepare(kernel, work)?,
        Work::ArgSort(descending, work) => arg_sort::prepare(kernel, *descending, work)?,
        Work::Unpack(work) => unpack::prepare(work, level()),
        Work::Attention(work) => attention::prepare(work, level()),
        Work::Custom(work) => custom::prepare(kernel, work),
    };
    Ok(call.into())
}

/// Whether nothing is stored: a loop that isn't reduced has no points.
fn empty(loops: &[usize], reduced: &[bool]) -> bool {
    std::iter::zip(loops, reduced).any(|(&size, &reduced)| size == 0 && !reduced)
}
