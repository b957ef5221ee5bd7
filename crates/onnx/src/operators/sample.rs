//! Images sampled at points between their elements: the sampling grid of an affine map, and the sampling.

use kiln_ir::DType;
use kiln_nn::Tensor;

use crate::call::{Call, Operator, wide};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "AffineGrid" => affine_grid,
        "GridSample" => grid_sample,
        _ => return None,
    })
}

/// The points `[batch, sizes…, spatial]` that maps `[batch, spatial, spatial + 1]` send an even grid on `[-1, 1]` to. Coordinates count
/// from the innermost axis.
fn affine_grid(call: &Call) -> Result<Vec<Value>> {
    let map = call.tensor(0)?;
    let sizes = call.sizes(&call.known_ints(1)?)?;
    let sizes = sizes.get(2..).unwrap_or(&[]);
    let spatial = sizes.len();
    if spatial == 0 || map.rank() != 3 || map.shape()[1..] != [spatial, spatial + 1] {
        return Err(call.fault(format!("maps {} for sizes {sizes:?}", map.shape())));
    }
    let corners = call.int("align_corners", 0) != 0;
    let dtype = wide(&map).dtype();
    let coordinate = |axis: usize| {
        let size = sizes[axis] as f64;
        let (step, start) = match corners {
            true if sizes[axis] < 2 => (0.0, 0.0),
            true => (2.0 / (size - 1.0), -1.0),
            false => (2.0 / size, 1.0 / size - 1.0),
        };
        (Tensor::index_along(sizes, axis).cast(dtype) * step + start).reshape(-1)
    };
    let mut columns: Vec<Tensor> = (0..spatial).rev().map(coordinate).collect();
    columns.push(columns[0].ones_like());
    // [places, spatial + 1] × [batch, spatial + 1, spatial]
    let places = Tensor::stack(&columns, -1).matmul(&wide(&map).t());
    let shape = [&[map.shape()[0]], sizes, &[spatial]].concat();
    call.room(&shape)?;
    call.like(0, places.reshape(shape).cast(map.dtype()))
}

/// How the image is padded.
#[derive(Clone, Copy, PartialEq)]
enum Beyond {
    Zeros,
    Border,
    Reflection,
}

/// An axis of the image: its size, and where its edges are.
struct Axis {
    size: usize,
    low: f64,
    high: f64,
}

impl Axis {
    /// Coordinates outside of the edges reflected between them.
    fn reflected(&self, x: &Tensor) -> Tensor {
        let range = self.high - self.low;
        if range <= 0.0 {
            return x.full_like(self.low);
        }
        let x = x - self.low;
        let turn = &x - (&x / (2.0 * range)).floor() * (2.0 * range);
        turn.gt(range).select(-&turn + 2.0 * range, &turn) + self.low
    }

    /// Coordinates beyond the edges clamped or reflected, if they are to be.
    fn inside(&self, x: &Tensor, beyond: Beyond) -> Tensor {
        let outside = x.lt(self.low).logical_or(&x.gt(self.high));
        match beyond {
            Beyond::Zeros => x.clone(),
            Beyond::Border => outside.select(x.clamp(0.0, self.size as f64 - 1.0), x),
            Beyond::Reflection => outside.select(self.reflected(x), x),
        }
    }

    /// Whole coordinates as indices on the axis, and where they are on it.
    fn place(&self, x: &Tensor, beyond: Beyond) -> (Tensor, Option<Tensor>) {
        let last = self.size as f64 - 1.0;
        let on = (beyond == Beyond::Zeros).then(|| x.ge(0.0).logical_and(&x.le(last)));
        let x = if beyond == Beyond::Reflection { self.inside(x, beyond) } else { x.clone() };
        (x.clamp(0.0, last).cast(DType::I64), on)
    }
}

/// The weight of each neighbour, and how far it is from the point's lower one.
fn neighbours(mode: &str, ratio: &Tensor) -> Vec<(f64, Tensor)> {
    let a = -0.75;
    let near = |x: &Tensor| ((x * (a + 2.0) - (a + 3.0)) * x * x) + 1.0;
    let far = |x: &Tensor| ((x * a - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let rest = -ratio + 1.0;
    match mode {
        "linear" => vec![(0.0, rest), (1.0, ratio.clone())],
        _ => {
            vec![
                (-1.0, far(&(ratio + 1.0))),
                (0.0, near(ratio)),
                (1.0, near(&rest)),
                (2.0, far(&(rest + 1.0))),
            ]
        }
    }
}

fn grid_sample(call: &Call) -> Result<Vec<Value>> {
    let (x, grid) = (call.tensor(0)?, call.tensor(1)?);
    let (shape, to) = (x.shape(), grid.shape());
    let spatial = shape.rank().saturating_sub(2);
    let fits = spatial > 0 && to.rank() == spatial + 2 && to[0] == shape[0] && to[spatial + 1] == spatial;
    if !fits || shape[2..].contains(&0) {
        return Err(call.fault(format!("points {to} in {shape}")));
    }
    let mode = match call.text("mode", "linear").as_str() {
        "bilinear" | "linear" => "linear",
        "bicubic" | "cubic" => "cubic",
        "nearest" => "nearest",
        other => return Err(call.unknown(format!("the mode {other}"))),
    };
    let beyond = match call.text("padding_mode", "zeros").as_str() {
        "zeros" => Beyond::Zeros,
        "border" => Beyond::Border,
        "reflection" => Beyond::Reflection,
        other => return Err(call.unknown(format!("the padding {other}"))),
    };
    if spatial > 3 || (mode != "nearest" && !x.dtype().is_float()) {
        return Err(call.unknown(format!("{mode} in {shape} of {}", x.dtype())));
    }
    let corners = call.int("align_corners", 0) != 0;
    let sizes = [&shape[..2], &to[1..=spatial]].concat();
    call.room(&sizes)?;
    let (batch, channels, count) = (shape[0], shape[1], to[1..=spatial].iter().product::<usize>());
    let grid = wide(&grid).reshape([batch, count, spatial]);
    let image = if x.dtype().is_float() { wide(&x) } else { x.clone() };
    let image = image.reshape([batch, channels, shape[2..].iter().product()]);
    // All ways to take one neighbour on each axis: the place in the image, where that is inside, and the weight.
    let mut ways: Vec<(Tensor, Option<Tensor>, Option<Tensor>)> =
        vec![(Tensor::full([batch, count], 0), None, None)];
    for at in 0..spatial {
        let size = shape[at + 2];
        let edge = if corners { 0.0 } else { -0.5 };
        let axis = Axis { size, low: edge, high: size as f64 - 1.0 - edge };
        let x = grid.narrow(-1, (spatial - 1 - at) as isize, 1).squeeze(-1);
        let x = match corners {
            true => (x + 1.0) / 2.0 * (size as f64 - 1.0),
            false => ((x + 1.0) * size as f64 - 1.0) / 2.0,
        };
        let steps = if mode == "nearest" {
            vec![(axis.inside(&x.round(), beyond), None)]
        } else {
            let x = axis.inside(&x, beyond);
            let floor = x.floor();
            let steps = neighbours(mode, &(&x - &floor)).into_iter();
            steps.map(|(step, weight)| (&floor + step, Some(weight))).collect()
        };
        let mut more = Vec::with_capacity(ways.len() * steps.len());
        for (place, on, weight) in &ways {
            for (x, own_weight) in &steps {
                let (own_place, own_on) = axis.place(x, beyond);
                let both =
                    |a: &Option<Tensor>, b: &Option<Tensor>, join: fn(&Tensor, &Tensor) -> Tensor| match (
                        a, b,
                    ) {
                        (Some(a), Some(b)) => Some(join(a, b)),
                        (a, b) => a.clone().or(b.clone()),
                    };
                let on = both(on, &own_on, |a, b| a.logical_and(b));
                let weight = both(weight, own_weight, |a, b| a * b);
                more.push((place * size + own_place, on, weight));
            }
        }
        ways = more;
    }
    let found = ways.into_iter().map(|(place, on, weight)| {
        let index = place.unsqueeze(1).broadcast_to([batch, channels, count]);
        let mut found = image.gather(2, &index);
        if let Some(on) = on {
            found = on.unsqueeze(1).select(&found, found.zeros_like());
        }
        weight.map_or(found.clone(), |weight| found * weight.unsqueeze(1))
    });
    let sum = found.reduce(|a, b| a + b).ok_or_else(|| call.fault("there is nothing to look at"))?;
    call.like(0, sum.reshape(sizes).cast(x.dtype()))
}
