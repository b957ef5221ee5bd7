//! Arrays of the crate `ndarray` as tensors and back, of any rank and layout; the feature `ndarray` brings it.
//!
//! ```
//! use kiln_nn::{Input, Tensor};
//! use ndarray::{Array2, ArrayD, array};
//!
//! let x = array![[1f32, 2.0], [3.0, 4.0]];
//! let y = Tensor::from(&x) * 2.0;
//! let y = ArrayD::<f32>::try_from(&y)?;
//! assert_eq!(y, array![[2f32, 4.0], [6.0, 8.0]].into_dyn());
//!
//! // What a step takes borrows the array.
//! let pixels = Array2::<u8>::zeros((32, 784));
//! let input = Input::try_from(&pixels)?;
//! # drop(input);
//! # Ok::<(), kiln_nn::Error>(())
//! ```

use kiln_ir::{Element, Error, ErrorKind};
use ndarray::{Array, ArrayBase, ArrayD, Data, Dimension, IxDyn};

use super::Tensor;
use crate::function::Input;

impl<T: Element, S: Data<Elem = T>, D: Dimension> From<&ArrayBase<S, D>> for Tensor {
    /// The elements, row-major, whatever the array's layout.
    #[track_caller]
    fn from(array: &ArrayBase<S, D>) -> Tensor {
        Tensor::new(array.iter().copied().collect::<Vec<T>>(), array.shape())
    }
}

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    /// As from a borrowed one. Where the array is row-major and has its memory for itself, nothing is copied.
    #[track_caller]
    fn from(array: Array<T, D>) -> Tensor {
        if !array.is_standard_layout() {
            return Tensor::from(&array);
        }
        let (shape, count) = (array.shape().to_vec(), array.len());
        let (mut values, first) = array.into_raw_vec_and_offset();
        // A part of a larger array begins and ends within its memory.
        values.truncate(first.unwrap_or(0) + count);
        values.drain(..first.unwrap_or(0));
        Tensor::new(values, shape)
    }
}

impl<T: Element> TryFrom<&Tensor> for ArrayD<T> {
    type Error = Error;

    /// Computes the tensor, as [`Tensor::to_vec`] does; [`ndarray::ArrayBase::into_dimensionality`] then gives it a known rank.
    #[track_caller]
    fn try_from(tensor: &Tensor) -> Result<ArrayD<T>, Error> {
        let values = tensor.to_vec::<T>()?;
        ArrayD::from_shape_vec(IxDyn(tensor.shape().sizes()), values)
            .map_err(|error| Error::new(ErrorKind::Shape, "ndarray", error.to_string()))
    }
}

impl<'a, T: Element, S: Data<Elem = T>, D: Dimension> TryFrom<&'a ArrayBase<S, D>> for Input<'a> {
    type Error = Error;

    /// The array's own memory.
    ///
    /// # Errors
    /// Where it isn't row-major and without gaps: what a step reads is.
    #[track_caller]
    fn try_from(array: &'a ArrayBase<S, D>) -> Result<Input<'a>, Error> {
        let wrong = || {
            let message = "the array isn't row-major; hand in `array.as_standard_layout()`";
            Error::new(ErrorKind::Shape, "ndarray", message)
        };
        Ok(Input::new(array.as_slice().ok_or_else(wrong)?, array.shape()))
    }
}
