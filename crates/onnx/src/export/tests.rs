//! What no layer comes to in use, as gradients are, is written as operators that compute the same.

use kiln_nn::{Context, Layer, Padding, PerAxis, PoolOptions, Tensor};
use kiln_testkit::rng::Range;
use kiln_testkit::{Folder, Rng, Tolerance, assert_close};

use super::{BATCH, ModelInput, Options, Size, write};
use crate::element::OnnxDType;
use kiln_ir::{DType, Shape};

/// An average pool, by what is special about it, and the shape of a row that it takes.
type PoolCase = (&'static str, &'static [usize], fn(&Tensor) -> Tensor);

const POOLS: [PoolCase; 8] = [
    ("one axis", &[2, 9], |x| x.avg_pool1d(PoolOptions::new(3).stride(2))),
    ("padding that counts", &[3, 7, 6], |x| x.avg_pool2d(PoolOptions::new(3).stride(2).padding(1))),
    ("padding that doesn't", &[3, 7, 6], |x| {
        x.avg_pool2d(PoolOptions::new(3).stride(2).padding(1).count_include_pad(false))
    }),
    ("ceil", &[2, 8, 8], |x| x.avg_pool2d(PoolOptions::new(3).stride(2).ceil_mode(true))),
    ("dilated", &[1, 9], |x| x.avg_pool1d(PoolOptions::new(3).stride(1).dilation(2))),
    ("dilated, of uneven windows", &[2, 12, 10], |x| {
        let each = |sizes: [usize; 2]| PerAxis::Each(sizes.to_vec());
        x.avg_pool2d(PoolOptions::new(each([2, 3])).stride(each([3, 2])).dilation(each([4, 2])))
    }),
    ("dilated, padded at one side", &[2, 9, 8], |x| {
        let padding = Padding::Sides(vec![(0, 1), (1, 0)]);
        x.avg_pool2d(PoolOptions::new(2).stride(3).padding(padding).dilation(3))
    }),
    ("dilated, of three axes", &[2, 6, 5, 7], |x| x.avg_pool3d(PoolOptions::new(2).stride(2).dilation(3))),
];

/// A pool's value, gradient, and the gradient of that.
fn derivatives(pool: fn(&Tensor) -> Tensor, x: &Tensor) -> Vec<Tensor> {
    let y = pool(x);
    let first = y.square().sum(..).grad(&[x]).remove(0);
    let second = (&first * x.square()).sum(..).grad(&[x]).remove(0);
    vec![y, first, second]
}

#[test]
fn average_pools_and_their_gradients_are_written_in_every_version() {
    let folder = Folder::new("onnx-pools");
    let mut rng = Rng::new(5);
    for (name, row, pool) in POOLS {
        for opset in [13, 17, 19, 22] {
            let options = Options { opset, ..Options::default() };
            for position in 0..3 {
                let what = format!("{name}, output {position}, version {opset}");
                let f = |x: &[Tensor]| vec![derivatives(pool, &x[0]).remove(position)];
                let mut builder = options.builder("pools").unwrap();
                let sizes: Vec<Size> = std::iter::once(Size::Named(BATCH.to_string()))
                    .chain(row.iter().map(|&size| Size::Fixed(size)))
                    .collect();
                let input = builder.input("x", OnnxDType::F32, &sizes);
                let input = ModelInput { name: input, sizes, dtype: DType::F32 };
                let output = write(&mut builder, &f, &[input], false)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                builder.output(&output[0].name, "y", OnnxDType::F32, &output[0].sizes);
                let path = folder.at("pool.onnx");
                builder.save(&path, &options).unwrap();
                let network = crate::load(&path).unwrap();
                for batch in [1, 3] {
                    let shape = Shape::from([&[batch], row].concat());
                    let x =
                        Tensor::from_data(rng.data(&shape, DType::F32, Range::Between(-2.0, 2.0)), &shape);
                    let found = network.forward(&x, &Context::inference()).to_data().unwrap();
                    let expected = f(std::slice::from_ref(&x)).remove(0).to_data().unwrap();
                    assert_close(&what, &found, &expected, Tolerance::of(DType::F32).times(4.0));
                }
            }
        }
    }
}
