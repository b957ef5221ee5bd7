//! Operations of the user's own: operands are copied into host data, the result is copied back.

use kiln_compile::program::{Custom, Kernel, View};
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Shape, each_data, each_dtype};

use super::super::bases::Bases;
use super::super::call::KernelCall;

/// Makes a user's operation ready to run.
pub(in super::super) fn prepare(kernel: &Kernel, work: &Custom) -> KernelCall {
    let (work, at) = (work.clone(), kernel.at);
    Box::new(move |bases: &Bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        let operands: Vec<Data> = work
            .operands
            .iter()
            .map(|(shape, view)| unsafe { read(view, shape.elements(), bases) })
            .collect();
        let operands: Vec<(&Shape, &Data)> =
            work.operands.iter().map(|(shape, _)| shape).zip(&operands).collect();
        let result = work.op.compute(&operands)?;
        let (shape, view) = &work.out;
        if result.dtype() != view.dtype || result.len() != shape.elements() {
            let (has, of) = (result.len(), result.dtype());
            let message =
                format!("computed {has} elements of {of}, not {} of {}", shape.elements(), view.dtype);
            let mut error = Error::new(ErrorKind::Shape, work.op.name(), message);
            error.at = at;
            return Err(error);
        }
        // SAFETY: as above, and the result has as many elements as the view.
        each_data!(&result, values => unsafe {
            let start = bases.origin(view);
            values.as_ptr().copy_to_nonoverlapping(start, values.len());
        });
        Ok(())
    })
}

/// The elements of a row-major view as host data.
///
/// # Safety
/// The view has this many elements, and nobody writes to them.
unsafe fn read(view: &View, elements: usize, bases: &Bases) -> Data {
    if view.dtype == DType::Bool {
        // SAFETY: as for this function; memory may hold any byte, where a `bool` mustn't.
        let bytes = unsafe { values::<u8>(view, elements, bases) };
        return Data::Bool(bytes.into_iter().map(|byte| byte != 0).collect());
    }
    // SAFETY: as for this function.
    each_dtype!(view.dtype, T => T::wrap(unsafe { values::<T>(view, elements, bases) }))
}

/// # Safety
/// As for [`read`]; any bytes are a `T`.
unsafe fn values<T: Copy>(view: &View, elements: usize, bases: &Bases) -> Vec<T> {
    if elements == 0 {
        return Vec::new();
    }
    // SAFETY: as for this function; bases are aligned for their elements.
    unsafe { std::slice::from_raw_parts(bases.origin::<T>(view), elements) }.to_vec()
}
