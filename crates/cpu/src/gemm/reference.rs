//! The obvious product, which the fast one is held against.

use super::{Gemm, GemmElement, Mat};
use crate::simd::Number;

/// Computes the products one element after the other, row by row, into a new vector. Rounds after each multiplication
/// and each addition.
///
/// # Safety
/// All elements of A and B that sizes and strides name are readable.
pub unsafe fn gemm<S: GemmElement>(shape: Gemm, a: Mat<S>, b: Mat<S>) -> Vec<S::Sum> {
    let mut c = Vec::with_capacity(shape.batch * shape.m * shape.n);
    for batch in 0..shape.batch as isize {
        for row in 0..shape.m as isize {
            for column in 0..shape.n as isize {
                let mut sum = S::Sum::default();
                for k in 0..shape.k as isize {
                    // SAFETY: the caller says that the elements are readable.
                    let (left, right) = unsafe {
                        (
                            a.ptr.offset(batch * a.batch + row * a.row + k * a.col).read(),
                            b.ptr.offset(batch * b.batch + k * b.row + column * b.col).read(),
                        )
                    };
                    sum = left.number().multiply_add(right.number(), sum);
                }
                c.push(sum);
            }
        }
    }
    c
}
