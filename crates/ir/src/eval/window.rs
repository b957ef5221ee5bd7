//! Windows that slide over the spatial axes of an image, for pooling and for convolution.

use super::OperandValue;
use super::movement::{flatten, indices};
use super::values::{EvalNumber, EvalValues, map_values};
use crate::op::WindowSpec;
use crate::shape::Shape;

/// The place in the image that element `offset` of the window number `window` covers, or `None` in the padding.
pub fn covered(
    window: &[usize],
    offset: &[usize],
    stride: &[usize],
    dilation: &[usize],
    pad: &[(usize, usize)],
    image: &[usize],
) -> Option<Vec<usize>> {
    let place = |axis: usize| {
        let padded = window[axis] * stride[axis] + offset[axis] * dilation[axis];
        padded.checked_sub(pad[axis].0).filter(|&place| place < image[axis])
    };
    (0..window.len()).map(place).collect()
}

/// Calls `visit` with the position in the result of each window and the positions in the image that it covers.
fn each_window(spec: &WindowSpec, image: &Shape, output: &Shape, mut visit: impl FnMut(usize, &[usize])) {
    let offsets: Vec<Vec<usize>> = indices(&Shape::from(spec.window.clone())).collect();
    for (position, at) in indices(output).enumerate() {
        let inside = |offset: &Vec<usize>| {
            let place = covered(&at[2..], offset, &spec.stride, &spec.dilation, &spec.pad, &image[2..])?;
            Some(flatten(&[&at[..2], &place].concat(), image))
        };
        visit(position, &offsets.iter().filter_map(inside).collect::<Vec<_>>());
    }
}

/// The first of `places` with the largest value, `NaN` counting as largest.
fn first_largest(x: &EvalValues, places: &[usize]) -> Option<usize> {
    fn larger<T: EvalNumber>(a: T, b: T) -> bool {
        a > b || (a.is_nan() && !b.is_nan())
    }
    let is_larger = |a: usize, b: usize| match x {
        EvalValues::Int(v) => larger(v[a], v[b]),
        EvalValues::Float(v) => larger(v[a], v[b]),
    };
    places.iter().copied().reduce(|best, place| if is_larger(place, best) { place } else { best })
}

/// For each window the position in the image that it picks.
fn picks(spec: &WindowSpec, x: OperandValue, output: &Shape) -> Vec<Option<usize>> {
    let mut picked = vec![None; output.elements()];
    each_window(spec, x.shape(), output, |position, places| {
        picked[position] = first_largest(x.values, places);
    });
    picked
}

pub fn pick(spec: &WindowSpec, x: OperandValue, values: OperandValue, output: &Shape) -> EvalValues {
    fn choose<T: EvalNumber>(picked: Vec<Option<usize>>, values: &[T]) -> Vec<T> {
        picked.into_iter().map(|place| place.map_or(T::ZERO, |place| values[place])).collect()
    }
    map_values!(values.values, v => choose(picks(spec, x, output), v))
}

pub fn spread(spec: &WindowSpec, x: OperandValue, gradient: OperandValue, image: &Shape) -> EvalValues {
    fn add<T: EvalNumber>(picked: Vec<Option<usize>>, gradient: &[T], len: usize) -> Vec<T> {
        let mut result = vec![T::ZERO; len];
        for (place, &g) in picked.into_iter().zip(gradient) {
            if let Some(place) = place {
                result[place] = result[place].add(g);
            }
        }
        result
    }
    map_values!(gradient.values, g => add(picks(spec, x, gradient.shape()), g, image.elements()))
}

pub fn sum(spec: &WindowSpec, x: OperandValue, output: &Shape) -> EvalValues {
    fn add<T: EvalNumber>(spec: &WindowSpec, values: &[T], image: &Shape, output: &Shape) -> Vec<T> {
        let mut result = vec![T::ZERO; output.elements()];
        each_window(spec, image, output, |position, places| {
            result[position] = places.iter().fold(T::ZERO, |sum, &place| sum.add(values[place]));
        });
        result
    }
    map_values!(x.values, v => add(spec, v, x.shape(), output))
}

pub fn sum_grad(spec: &WindowSpec, gradient: OperandValue, image: &Shape) -> EvalValues {
    fn add<T: EvalNumber>(spec: &WindowSpec, gradient: &[T], image: &Shape, output: &Shape) -> Vec<T> {
        let mut result = vec![T::ZERO; image.elements()];
        each_window(spec, image, output, |position, places| {
            for &place in places {
                result[place] = result[place].add(gradient[position]);
            }
        });
        result
    }
    map_values!(gradient.values, g => add(spec, g, image, gradient.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_padding_are_not_covered() {
        assert_eq!(covered(&[0], &[0], &[2], &[1], &[(1, 0)], &[3]), None);
        assert_eq!(covered(&[1], &[1], &[2], &[1], &[(1, 0)], &[3]), Some(vec![2]));
    }
}
