//! Arrays of `ndarray` as tensors and back: `cargo test -p kiln-nn --features ndarray --test ndarray`.

#![cfg(feature = "ndarray")]

use half::f16;
use kiln_nn::{DType, Element, Input, Tensor};
use ndarray::{Array0, Array1, Array3, ArrayD, ArrayView2, Ix2, ShapeBuilder, arr0, array, s};

fn back<T: Element + std::fmt::Debug>(array: ArrayD<T>) {
    let tensor = Tensor::from(&array);
    assert_eq!(tensor.dtype(), T::DTYPE);
    assert_eq!(tensor.shape().sizes(), array.shape());
    assert_eq!(ArrayD::<T>::try_from(&tensor).unwrap(), array);
    assert_eq!(ArrayD::<T>::try_from(&Tensor::from(array.clone())).unwrap(), array);
}

#[test]
fn arrays_of_every_type_and_rank_come_back() {
    back(array![[1.5f32, -2.0], [0.0, 4.0]].into_dyn());
    back(array![1.5f64, f64::MAX].into_dyn());
    back(array![f16::from_f32(0.5)].into_dyn());
    back(array![-1i32, 7].into_dyn());
    back(array![i64::MIN, 7].into_dyn());
    back(array![0u8, 255].into_dyn());
    back(array![65535u16].into_dyn());
    back(array![true, false].into_dyn());
    back(arr0(3i64).into_dyn());
    back(Array1::<f32>::zeros(0).into_dyn());
    back(Array3::from_shape_fn((2, 3, 4), |(a, b, c)| (a * 12 + b * 4 + c) as f64).into_dyn());
}

#[test]
fn layouts_don_t_matter() {
    let rows = array![[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let by_columns =
        ndarray::Array2::from_shape_vec((2, 3).f(), vec![1f32, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
    assert_eq!(by_columns, rows);
    for tensor in [Tensor::from(&by_columns), Tensor::from(by_columns.clone()), Tensor::from(&rows.t().t())] {
        assert_eq!(tensor.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    assert_eq!(Tensor::from(&rows.t()).to_vec::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(Tensor::from(&rows.slice(s![.., ..;-2])).to_vec::<f32>().unwrap(), [3.0, 1.0, 6.0, 4.0]);
    // A part that owns the memory of the whole.
    assert_eq!(Tensor::from(rows.clone().slice_move(s![1.., ..])).to_vec::<f32>().unwrap(), [4.0, 5.0, 6.0]);
    let every = array![1u8, 2, 3, 4, 5].slice_move(s![1..;2]);
    assert_eq!(Tensor::from(every).to_vec::<u8>().unwrap(), [2, 4]);
}

#[test]
fn what_can_t_be_given_is_an_error() {
    let tensor = Tensor::from([1.5f64]);
    assert!(ArrayD::<f32>::try_from(&tensor).is_err(), "narrower");
    assert!(ArrayD::<f64>::try_from(&Tensor::ones([2]).matmul(&Tensor::ones([3, 2]))).is_err());
    let rows = array![[1f32, 2.0], [3.0, 4.0]];
    let view: ArrayView2<f32> = rows.t();
    assert!(Input::try_from(&view).unwrap_err().to_string().contains("as_standard_layout"));
    assert!(Input::try_from(&rows).is_ok());
    let tensor = Tensor::from(&Array0::from_elem((), 2f32));
    assert_eq!((tensor.dtype(), tensor.shape().sizes()), (DType::F32, &[][..]));
    let known = ArrayD::<f32>::try_from(&Tensor::from(&rows)).unwrap().into_dimensionality::<Ix2>();
    assert_eq!(known.unwrap(), rows);
}
