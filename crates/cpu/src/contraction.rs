//! Contractions with their epilogues: which kernel computes the product, and how it hands over what is finished.

use std::sync::Arc;

use kiln_compile::program::{Conv, Fused, Matmul, View};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Result};

use super::bases::Bases;
use super::call::{KernelCall, PreparedKernel};
use super::conv::PlannedConv;
use super::epilogue::EpiloguePattern;
use super::fused::Interpreter;
use super::gemm::{self, Gemm, GemmElement, Mat};
use super::output::{ResultBlock, ResultSink};
use super::{naive, simd};

/// What follows a product: nothing but a store or the commonest epilogue, which the product does itself, or an interpreted one.
struct ContractionEpilogue {
    pattern: Option<EpiloguePattern>,
    interpreter: Interpreter,
}

impl ContractionEpilogue {
    fn new(epilogue: &Fused) -> ContractionEpilogue {
        ContractionEpilogue {
            pattern: EpiloguePattern::of(epilogue),
            interpreter: Interpreter::new(epilogue, simd::level()),
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
            product(&ResultSink::Fused(pattern.at(bases)));
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

/// A matrix product.
pub(super) fn matmul(work: &Matmul) -> KernelCall {
    match work.a.dtype {
        DType::F32 => product::<f32>(work),
        DType::F64 => product::<f64>(work),
        DType::F16 => product::<f16>(work),
        DType::Bf16 => product::<bf16>(work),
        DType::I32 => product::<i32>(work),
        DType::I64 => product::<i64>(work),
        // The compiler widens what is narrower.
        DType::U16 | DType::U8 | DType::Bool => naive::matmul(work),
    }
}

fn product<S: GemmElement + 'static>(work: &Matmul) -> KernelCall {
    let epilogue = ContractionEpilogue::new(&work.epilogue);
    let shape = Gemm { batch: work.batch, m: work.m, n: work.n, k: work.k };
    let (a, b) = (work.a.clone(), work.b.clone());
    Box::new(move |bases| {
        let matrix = |view: &View| Mat::<S> {
            ptr: start(view, bases),
            batch: view.strides[0],
            row: view.strides[1],
            col: view.strides[2],
        };
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe {
            epilogue.lead(bases, |output| gemm::gemm(shape, matrix(&a), matrix(&b), output));
        }
        Ok(())
    })
}

/// A convolution or one of its gradients. `invariant`: its second operand is the same for many runs.
pub(super) fn conv(work: &Conv, invariant: bool) -> Result<PreparedKernel> {
    if work.a.dtype != DType::F32 || work.b.dtype != DType::F32 {
        return Ok(naive::conv(work).into());
    }
    let conv = Arc::new(PlannedConv::new(work, simd::level(), invariant)?);
    let epilogue = ContractionEpilogue::new(&work.epilogue);
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
pub(super) fn fused(work: &Fused) -> KernelCall {
    let interpreter = Interpreter::new(work, simd::level());
    Box::new(move |bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { interpreter.run(bases) };
        Ok(())
    })
}
