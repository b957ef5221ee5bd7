//! Contractions with their tails: which kernel computes the product, and how it hands over what is finished.

use std::sync::Arc;

use kiln_compile::program::{Conv, Fused, Matmul, View};
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Result};

use super::bases::Bases;
use super::block::{Block, Output};
use super::call::{Call, Prepared};
use super::direct::Direct;
use super::finish::Recipe;
use super::fused::Interpreter;
use super::gemm::{self, Gemm, Mat, Source};
use super::{naive, simd};

/// What follows a product: nothing but a store or the commonest tail, which the product does itself, or an interpreted one.
struct Tail {
    recipe: Option<Recipe>,
    interpreter: Interpreter,
}

impl Tail {
    fn new(tail: &Fused) -> Tail {
        Tail { recipe: Recipe::of(tail), interpreter: Interpreter::new(tail, simd::level()) }
    }

    /// Runs `product` with the output that leads its result through this tail.
    ///
    /// # Safety
    /// The program was checked; `bases` are its buffers, which nothing else uses meanwhile. The product is in lanes of `T`.
    unsafe fn lead<T>(&self, bases: &Bases, product: impl FnOnce(&Output<T>)) {
        if let Some(plain) = self.interpreter.plain() {
            let start = bases.start(plain.buffer).cast::<T>().wrapping_offset(plain.offset);
            product(&Output::Store { start, stride: plain.row_stride });
        } else if let Some(recipe) = &self.recipe {
            product(&Output::Finish(recipe.at(bases)));
        } else {
            product(&Output::Tail(&|block: Block<T>| {
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
pub(super) fn matmul(work: &Matmul) -> Call {
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

fn product<S: Source + 'static>(work: &Matmul) -> Call {
    let tail = Tail::new(&work.tail);
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
            tail.lead(bases, |output| gemm::gemm(shape, matrix(&a), matrix(&b), output));
        }
        Ok(())
    })
}

/// A convolution or one of its gradients. `steady`: its second operand is the same for many runs.
pub(super) fn conv(work: &Conv, steady: bool) -> Result<Prepared> {
    if work.a.dtype != DType::F32 || work.b.dtype != DType::F32 {
        return Ok(naive::conv(work).into());
    }
    let direct = Arc::new(Direct::new(work, simd::level(), steady)?);
    let tail = Tail::new(&work.tail);
    let (a, b) = (work.a.clone(), work.b.clone());
    let kept = direct.kept();
    let arrange = (kept > 0).then(|| -> Call {
        let (direct, b) = (direct.clone(), b.clone());
        Box::new(move |bases| {
            // SAFETY: the program was checked when it was loaded, the caller gives its bases, and runs one call at a time.
            unsafe { direct.arrange(start(&b, bases)) };
            Ok(())
        })
    });
    let run: Call = Box::new(move |bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { tail.lead(bases, |output| direct.run(start(&a, bases), start(&b, bases), output)) };
        Ok(())
    });
    Ok(Prepared { arrange, kept, run })
}

/// Pointwise work and reductions.
pub(super) fn fused(work: &Fused) -> Call {
    let interpreter = Interpreter::new(work, simd::level());
    Box::new(move |bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { interpreter.run(bases) };
        Ok(())
    })
}
