//! Every kind of kernel in its most obvious form, an element at a time: what the fast kernels are held against.

mod body;
mod contract;
pub(super) mod scalar;

pub(super) use contract::{conv, matmul, window};

use kiln_compile::program::View;
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Scalar};

use super::bases::Bases;

/// The element of a view at loop indices `at`; indices beyond the view's strides don't move it.
///
/// # Safety
/// The element exists, and nobody writes to it.
unsafe fn read(view: &View, at: &[usize], bases: &Bases) -> Scalar {
    let moved = std::iter::zip(at, &view.strides).map(|(&i, &stride)| i as isize * stride).sum::<isize>();
    macro_rules! at {
        ($type:ty) => {
            // SAFETY: as for this function.
            unsafe { bases.origin::<$type>(view).offset(moved).read() }
        };
    }
    match view.dtype {
        DType::Bool => Scalar::Bool(at!(u8) != 0),
        DType::U8 => at!(u8).into(),
        DType::U16 => at!(u16).into(),
        DType::I32 => at!(i32).into(),
        DType::I64 => at!(i64).into(),
        DType::F16 => at!(f16).into(),
        DType::Bf16 => at!(bf16).into(),
        DType::F32 => at!(f32).into(),
        DType::F64 => at!(f64).into(),
    }
}

/// Puts a value, converted to the view's dtype, where [`read`] would find it.
///
/// # Safety
/// As for [`read`], and nobody else uses the element.
unsafe fn write(view: &View, at: &[usize], bases: &Bases, value: Scalar) {
    use kiln_ir::Element;
    let moved = std::iter::zip(at, &view.strides).map(|(&i, &stride)| i as isize * stride).sum::<isize>();
    kiln_ir::each_dtype!(view.dtype, T => {
        // SAFETY: as for this function.
        unsafe { bases.origin::<T>(view).offset(moved).write(T::from_scalar(value)) }
    });
}

/// Calls `visit` with every point of a loop nest, in order.
fn points(sizes: &[usize], mut visit: impl FnMut(&[usize])) {
    let count: usize = sizes.iter().product();
    let mut at = vec![0; sizes.len()];
    for _ in 0..count {
        visit(&at);
        for (i, &size) in at.iter_mut().zip(sizes).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
}
