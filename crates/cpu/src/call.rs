//! What a kernel is once it is ready to run. A file of its own, so that kernels know nothing of what chooses among them.

use kiln_ir::Result;

use super::bases::Bases;

/// A kernel that is ready to run. It follows the pointers it is given: whoever calls it checked the program it was made
/// from, and gives bases for that program which nothing else uses meanwhile.
pub(crate) type KernelCall = Box<dyn Fn(&Bases) -> Result<()> + Send + Sync>;

/// How long an operand holds the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// For one call of its kernel.
    Call,
    /// For all steps in which its kernel repeats.
    Steps,
    /// For many runs.
    Runs,
}

/// A kernel's calls.
pub(crate) struct PreparedKernel {
    /// Makes ready what the kernel keeps of an operand that stays the same: called before the first run, and whenever
    /// that operand is another.
    pub(crate) prepack: Option<KernelCall>,
    /// How many bytes that takes.
    pub(crate) kept: usize,
    /// Does the work.
    pub(crate) run: KernelCall,
}

impl From<KernelCall> for PreparedKernel {
    fn from(run: KernelCall) -> PreparedKernel {
        PreparedKernel { prepack: None, kept: 0, run }
    }
}
