//! Contractions with their epilogues: which kernel computes the product, and how it hands over what is finished.

use std::sync::Arc;

use kiln_compile::program::{Conv, Fused, Matmul, View};
use kiln_ir::half::{bf16, f16};
use kiln_ir::packed::BlockFormat;
use kiln_ir::{DType, Result};

use super::bases::Bases;
use super::call::{KernelCall, Lasting, PreparedKernel};
use super::conv::PlannedConv;
use super::epilogue::EpiloguePattern;
use super::fused::Interpreter;
use super::gemm::{Gemm, GemmElement, Mat, PackedGemm, PlannedGemm};
use super::naive;
use super::output::{ResultBlock, ResultSink};
use super::simd::Level;

/// What follows a product: nothing but a store or the commonest epilogue, which the product does itself, or an interpreted one.
struct ContractionEpilogue {
    pattern: Option<EpiloguePattern>,
    interpreter: Interpreter,
    level: Level,
}

impl ContractionEpilogue {
    fn new(epilogue: &Fused, level: Level) -> ContractionEpilogue {
        ContractionEpilogue {
            pattern: EpiloguePattern::of(epilogue),
            interpreter: Interpreter::new(epilogue, level),
            level,
        }
    }

    /// Runs `product` with the output that leads its result through this epilogue.
    ///
    /// # Safety
    /// The program was checked; `bases` are its buffers, which nothing else uses meanwhile. The product is in lanes of `T`.
    unsafe fn lead<T>(&self, bases: &Bases, product: impl FnOnce(&ResultSink<T>)) {
        if let Some(plain) = self.interpreter.plain() {
            let start = bases.start(plain.buffer).cast::<T>().wrapping_offset(plain.offset);
            product(&ResultSink::Store { start, stride: plain.row_stride });
        } else if let Some(pattern) = &self.pattern {
            product(&ResultSink::Fused(pattern.at(bases, self.level)));
        } else {
            product(&ResultSink::Interpreted(&|block: ResultBlock<T>| {
                // SAFETY: the caller's promise; each block comes once, with its sums.
                unsafe {
                    self.interpreter.run_block(
                        bases,
                        block.sums.cast(),
                        block.stride,
                        block.rows,
                        block.columns,
                    );
                }
            }));
        }
    }
}

/// The first element of a view.
fn start<T>(view: &View, bases: &Bases) -> *const T {
    bases.origin::<T>(view).cast_const()
}

/// A matrix product, whose second operand stays the same so long.
pub(super) fn matmul(work: &Matmul, level: Level, lasting: Lasting) -> Result<PreparedKernel> {
    if let Some(format) = work.packed {
        return Ok(packed_product(work, format, level).into());
    }
    match work.a.dtype {
        DType::F32 => product::<f32>(work, level, lasting),
        DType::F64 => product::<f64>(work, level, lasting),
        DType::F16 => product::<f16>(work, level, lasting),
        DType::Bf16 => product::<bf16>(work, level, lasting),
        DType::I32 => product::<i32>(work, level, lasting),
        DType::I64 => product::<i64>(work, level, lasting),
        // The compiler widens what is narrower.
        DType::U16 | DType::U8 | DType::Bool => Ok(naive::matmul(work).into()),
    }
}

fn product<S: GemmElement>(work: &Matmul, level: Level, lasting: Lasting) -> Result<PreparedKernel> {
    let epilogue = ContractionEpilogue::new(&work.epilogue, level);
    let shape = Gemm { batch: work.batch, m: work.m, n: work.n, k: work.k };
    let matrix = |view: &View, ptr: *const S| Mat::<S> {
        ptr,
        batch: view.strides[0],
        row: view.strides[1],
        col: view.strides[2],
    };
    let (a, b) = (work.a.clone(), work.b.clone());
    let nowhere = std::ptr::null();
    let plan = PlannedGemm::new(level, shape, &matrix(&a, nowhere), &matrix(&b, nowhere), lasting)?;
    let plan = Arc::new(plan);
    let kept = plan.kept();
    let prepack = (kept > 0).then(|| -> KernelCall {
        let (plan, b) = (plan.clone(), b.clone());
        Box::new(move |bases| {
            // SAFETY: the program was checked when it was loaded, the caller gives its bases, and runs one call at a time.
            unsafe { plan.prepack(matrix(&b, start(&b, bases))) };
            Ok(())
        })
    });
    let run: KernelCall = Box::new(move |bases| {
        let (left, right) = (matrix(&a, start(&a, bases)), matrix(&b, start(&b, bases)));
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { epilogue.lead(bases, |output| plan.run(left, right, output)) };
        Ok(())
    });
    Ok(PreparedKernel { prepack, kept, run })
}

/// A product that reads its columns packed, at every run.
fn packed_product(work: &Matmul, format: BlockFormat, level: Level) -> KernelCall {
    let epilogue = ContractionEpilogue::new(&work.epilogue, level);
    let gemm = PackedGemm { level, format, m: work.m, n: work.n, k: work.k };
    let (a, b) = (work.a.clone(), work.b.clone());
    Box::new(move |bases| {
        let (rows, columns) = (start(&a, bases), start(&b, bases));
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { epilogue.lead(bases, |output| gemm.run(rows, a.strides[1] as usize, columns, output)) };
        Ok(())
    })
}

/// A convolution or one of its gradients, whose second operand stays the same so long.
pub(super) fn conv(work: &Conv, level: Level, lasting: Lasting) -> Result<PreparedKernel> {
    if work.a.dtype != DType::F32 || work.b.dtype != DType::F32 {
        return Ok(naive::conv(work).into());
    }
    let conv = Arc::new(PlannedConv::new(work, level, lasting != Lasting::Call)?);
    let epilogue = ContractionEpilogue::new(&work.epilogue, level);
    let (a, b) = (work.a.clone(), work.b.clone());
    let kept = conv.kept();
    let prepack = (kept > 0).then(|| -> KernelCall {
        let (conv, b) = (conv.clone(), b.clone());
        Box::new(move |bases| {
            // SAFETY: the program was checked when it was loaded, the caller gives its bases, and runs one call at a time.
            unsafe { conv.prepack(start(&b, bases)) };
            Ok(())
        })
    });
    let run: KernelCall = Box::new(move |bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { epilogue.lead(bases, |output| conv.run(start(&a, bases), start(&b, bases), output)) };
        Ok(())
    });
    Ok(PreparedKernel { prepack, kept, run })
}

/// Pointwise work and reductions.
pub(super) fn fused(work: &Fused, level: Level) -> KernelCall {
    let interpreter = Interpreter::new(work, level);
    Box::new(move |bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { interpreter.run(bases) };
        Ok(())
    })
}

#[cfg(test)]
#[path = "contraction_tests.rs"]
mod tests;
