//! A convolution alone, and its gradients.

use kiln::{ConvOptions, Function, Tensor};

use super::{Arguments, Result, function};

/// `BxCxOxS[kK][sT]_fwd`, `_dx` or `_dw`, over channels-last operands.
pub(crate) fn workload(arguments: &Arguments, name: &str) -> Option<Result> {
    let (geometry, kind) = name.split_once('_')?;
    let (geometry, stride) = geometry.split_once('s').unwrap_or((geometry, "1"));
    let (geometry, window) = geometry.split_once('k').unwrap_or((geometry, "3"));
    let sizes: Vec<usize> = geometry.split('x').filter_map(|part| part.parse().ok()).collect();
    let [b, c, o, s] = sizes.try_into().ok()?;
    let (k, stride): (usize, usize) = (window.parse().ok()?, stride.parse().ok()?);
    let out = (s + 2 * (k / 2) - k) / stride + 1;
    let options = ConvOptions::new().padding(k / 2).stride(stride);
    // Stored as kiln stores them: images channels-last, weights window-first.
    let image = |x: &Tensor| x.permute([0, 3, 1, 2]);
    let weight = |w: &Tensor| w.permute([3, 2, 0, 1]);
    let last = |y: &Tensor| y.permute([0, 2, 3, 1]);
    let (x, w, g) = ([b, s, s, c], [k, k, c, o], [b, out, out, o]);
    Some(match kind {
        "fwd" => {
            let f = Function::new(move |[x, w]| vec![last(&image(&x).conv2d(&weight(&w), &options))]);
            function(arguments, f, [&x, &w])
        }
        "dx" => {
            let f = Function::new(move |[g, w]| {
                let x = Tensor::zeros([b, c, s, s]);
                let y = x.conv2d(&weight(&w), &options);
                vec![last(&y.grad_with(&image(&g), &[&x])[0])]
            });
            function(arguments, f, [&g, &w])
        }
        _ => {
            let f = Function::new(move |[x, g]| {
                let w = Tensor::zeros([o, c, k, k]);
                let y = image(&x).conv2d(&w, &options);
                vec![y.grad_with(&image(&g), &[&w])[0].permute([2, 3, 1, 0])]
            });
            function(arguments, f, [&x, &g])
        }
    })
}
