//! Regions of images: which of many boxes stay, what lies in them as images of one size, and convolutions that look where they are told.

use kiln_ir::{DType, Data};
use kiln_nn::Tensor;

use super::host::{OnHost, floats};
use super::windows::{biased, moves};
use crate::call::{Call, Operator, wide};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "NonMaxSuppression" => non_max,
        "RoiAlign" => align,
        "MaxRoiPool" => max_pool,
        "DeformConv" => deformed,
        _ => return None,
    })
}

/// A box by its lower and upper corners.
#[derive(Clone, Copy)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn new(numbers: &[f32], is_centre: bool) -> Corners {
        let pair = |a: usize, b: usize| match is_centre {
            true => (numbers[a] - numbers[b] / 2.0, numbers[a] + numbers[b] / 2.0),
            false => (numbers[a].min(numbers[b]), numbers[a].max(numbers[b])),
        };
        let ((low, high), (left, right)) = (pair(0, 2), pair(1, 3));
        Corners { low: [low, left], high: [high, right] }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// The share of what two cover together that both cover.
    fn overlap(&self, other: &Corners) -> f32 {
        let side = |axis: usize| {
            (self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis])).max(0.0)
        };
        let both = side(0) * side(1);
        let all = self.area() + other.area() - both;
        if both <= 0.0 || self.area() <= 0.0 || other.area() <= 0.0 || all <= 0.0 { 0.0 } else { both / all }
    }
}

/// The boxes of each class from the best score on, without those that one before covers: `[kept, 3]`, image, class and box.
fn non_max(call: &Call) -> Result<Vec<Value>> {
    let (shape, scored) = (call.value(0)?.shape(), call.value(1)?.shape());
    let (&[images, boxes, 4], &[_, classes, _]) = (&shape[..], &scored[..]) else {
        return Err(call.fault(format!("boxes {shape:?} with scores {scored:?}")));
    };
    if scored[0] != images || scored[2] != boxes {
        return Err(call.fault(format!("boxes {shape:?} with scores {scored:?}")));
    }
    let number = |position: usize, default: f64| match call.has(position) {
        true => call.known_number(position),
        false => Ok(default),
    };
    let most = usize::try_from(number(2, 0.0)? as i64).unwrap_or(0);
    let (overlap, least) = (number(3, 0.0)? as f32, number(4, f64::NEG_INFINITY)? as f32);
    let is_centre = call.int("center_point_box", 0) != 0;
    let (numbers, scores) = (floats(&call.known(0)?), floats(&call.known(1)?));
    call.listed(boxes.saturating_mul(images))?;
    call.worked(&[images, classes, boxes.max(1)])?;
    let mut found: Vec<i64> = Vec::new();
    for image in 0..images {
        let corners: Vec<Corners> =
            (0..boxes).map(|at| Corners::new(&numbers[4 * (image * boxes + at)..][..4], is_centre)).collect();
        for class in 0..classes {
            let scores = &scores[(image * classes + class) * boxes..][..boxes];
            let mut order: Vec<usize> = (0..boxes).filter(|&at| scores[at] > least).collect();
            // Of equal scores the first box is the better one.
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut kept: Vec<usize> = Vec::new();
            for at in order {
                if kept.len() >= most {
                    break;
                }
                call.budget().steps(1 + kept.len() as u64).map_err(|exceeded| call.limit(exceeded))?;
                if kept.iter().all(|&other| corners[at].overlap(&corners[other]) <= overlap) {
                    kept.push(at);
                }
            }
            call.listed(3 * kept.len())?;
            found.extend(kept.iter().flat_map(|&at| [image as i64, class as i64, at as i64]));
        }
    }
    let count = found.len() / 3;
    Ok(vec![Value::new(Data::I64(found), &[count, 3], OnnxDType::I64)])
}

/// How images are cut out.
struct Aligned {
    /// Batch, channels, height and width of the images.
    from: [usize; 4],
    /// Height and width of what is cut out.
    to: [usize; 2],
    /// Samples along each side of a cell; by the region's size where it is 0.
    samples: usize,
    scale: f32,
    half_pixel: bool,
    is_max: bool,
}

/// The most samples of one region's cell.
const MOST_SAMPLES: f32 = 1e6;

impl Aligned {
    /// The four elements around a point and their weights; none where it is outside.
    fn corners(&self, y: f32, x: f32) -> Option<[(usize, f32); 4]> {
        let [_, _, height, width] = self.from;
        if !(-1.0..=height as f32).contains(&y) || !(-1.0..=width as f32).contains(&x) {
            return None;
        }
        let along = |at: f32, size: usize| {
            let at = at.max(0.0);
            let low = at as usize;
            match low >= size - 1 {
                true => (size - 1, size - 1, 0.0),
                false => (low, low + 1, at - low as f32),
            }
        };
        let ((top, bottom, down), (left, right, across)) = (along(y, height), along(x, width));
        Some([
            (top * width + left, (1.0 - down) * (1.0 - across)),
            (top * width + right, (1.0 - down) * across),
            (bottom * width + left, down * (1.0 - across)),
            (bottom * width + right, down * across),
        ])
    }

    /// Cuts one region out of the channels of an image.
    fn cut(&self, image: &[f32], region: &[f32], y: &mut [f32]) -> Result<(), String> {
        let [_, channels, height, width] = self.from;
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let place = |at: usize| region[at] * self.scale - offset;
        let extent = |side: usize| {
            let extent = place(side + 2) - place(side);
            if self.half_pixel { extent } else { extent.max(1.0) }
        };
        // Sides count from the left, what is cut out from the top.
        let cell = [extent(1) / self.to[0] as f32, extent(0) / self.to[1] as f32];
        let grid = cell.map(|cell| if self.samples > 0 { self.samples as f32 } else { cell.ceil().max(0.0) });
        if (grid[0] * grid[1]).is_nan() || grid[0] * grid[1] > MOST_SAMPLES {
            return Err(format!("a region of {region:?} takes too many samples"));
        }
        let [rows, columns] = grid.map(|count| count as usize);
        let count = (rows * columns).max(1) as f32;
        let cells = self.to[0] * self.to[1];
        for at in 0..cells {
            let (row, column) = (at / self.to[1], at % self.to[1]);
            let point = |side: usize, cell_at: usize, sample: usize, grid: f32| {
                place(1 - side) + (cell_at as f32 + (sample as f32 + 0.5) / grid) * cell[side]
            };
            let mut is_first = true;
            for sample in 0..rows * columns {
                let down = point(0, row, sample / columns, grid[0]);
                let across = point(1, column, sample % columns, grid[1]);
                let corners = self.corners(down, across).unwrap_or([(0, 0.0); 4]);
                for channel in 0..channels {
                    let plane = &image[channel * height * width..];
                    let parts = corners.map(|(at, weight)| plane[at] * weight);
                    let y = &mut y[channel * cells + at];
                    if self.is_max {
                        let most = parts.into_iter().fold(f32::NEG_INFINITY, f32::max);
                        *y = if is_first { most } else { y.max(most) };
                    } else {
                        *y += parts.iter().sum::<f32>() / count;
                    }
                }
                is_first = false;
            }
        }
        Ok(())
    }
}

/// Images and the count of regions, checked.
fn images(call: &Call, x: &Tensor, regions: &Tensor, columns: usize) -> Result<([usize; 4], usize)> {
    match (&x.shape()[..], &regions.shape()[..]) {
        (&[batch, channels, height, width], &[count, given])
            if given == columns && height > 0 && width > 0 =>
        {
            Ok(([batch, channels, height, width], count))
        }
        _ => Err(call.fault(format!("regions {} of images {}", regions.shape(), x.shape()))),
    }
}

/// Regions as images of one size, each cell the mean (or the largest) of samples between the elements.
fn align(call: &Call) -> Result<Vec<Value>> {
    let (x, regions, places) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (from, count) = images(call, &x, &regions, 4)?;
    let to = call.sizes(&[call.int("output_height", 1), call.int("output_width", 1)])?;
    let half = if call.version >= 16 { "half_pixel" } else { "output_half_pixel" };
    let align = Aligned {
        from,
        to: [to[0], to[1]],
        samples: call.sizes(&[call.int("sampling_ratio", 0)])?[0],
        scale: call.float("spatial_scale", 1.0) as f32,
        half_pixel: call.text("coordinate_transformation_mode", half) == "half_pixel",
        is_max: call.text("mode", "avg") == "max",
    };
    let shape = vec![count, from[1], to[0], to[1]];
    call.room_of(&shape, 4)?;
    let samples = align.samples.max(1);
    call.worked(&[count, to[0], to[1], from[1].max(1), samples, samples])?;
    let compute = move |operands: &[(&kiln_ir::Shape, &Data)]| {
        let (x, regions, places) = (floats(operands[0].1), floats(operands[1].1), whole(operands[2].1));
        let [batch, channels, height, width] = align.from;
        let (image, each) = (channels * height * width, channels * align.to[0] * align.to[1]);
        let mut y = vec![0f32; count * each];
        for (at, y) in y.chunks_mut(each.max(1)).enumerate().take(count) {
            let place = usize::try_from(places[at]).ok().filter(|&place| place < batch);
            let place = place.ok_or_else(|| format!("region {at} is of image {} of {batch}", places[at]))?;
            align.cut(&x[place * image..][..image], &regions[4 * at..][..4], y)?;
        }
        Ok(Data::F32(y))
    };
    if places.elements() != count {
        return Err(call.fault(format!("{count} regions, and images named for {}", places.elements())));
    }
    let y = OnHost { name: "RoiAlign", shape, dtype: DType::F32, compute };
    call.like(0, y.of(&[&x, &regions, &places]).cast(x.dtype()))
}

/// The largest element of each cell of a region, whose edges are whole elements: `[image, left, top, right, bottom]`.
fn max_pool(call: &Call) -> Result<Vec<Value>> {
    let (x, regions) = (call.tensor(0)?, call.tensor(1)?);
    let ([batch, channels, height, width], count) = images(call, &x, &regions, 5)?;
    let to = call.sizes(&call.ints("pooled_shape").unwrap_or_default())?;
    let &[rows, columns] = &to[..] else { return Err(call.fault(format!("cells {to:?}"))) };
    let scale = call.float("spatial_scale", 1.0) as f32;
    let shape = vec![count, channels, rows, columns];
    call.room_of(&shape, 4)?;
    let compute = move |operands: &[(&kiln_ir::Shape, &Data)]| {
        let (x, regions) = (floats(operands[0].1), floats(operands[1].1));
        let mut y = vec![0f32; count * channels * rows * columns];
        for (at, region) in regions.chunks(5).enumerate() {
            let image = region[0] as i64;
            let image = usize::try_from(image).ok().filter(|&image| image < batch);
            let image = image.ok_or_else(|| format!("region {at} is of image {} of {batch}", region[0]))?;
            let edge = |at: usize| (region[at] * scale).round() as i64;
            // The elements of a cell along one side.
            let cell = |low: i64, high: i64, at: usize, cells: usize, size: usize| {
                let each = high.saturating_sub(low).saturating_add(1).max(1) as f32 / cells as f32;
                let start = ((at as f32 * each).floor() as i64).saturating_add(low);
                let end = (((at + 1) as f32 * each).ceil() as i64).saturating_add(low);
                start.clamp(0, size as i64) as usize..end.clamp(0, size as i64) as usize
            };
            for place in 0..channels * rows * columns {
                let (channel, row, column) =
                    (place / (rows * columns), place / columns % rows, place % columns);
                let plane = &x[(image * channels + channel) * height * width..][..height * width];
                let down = cell(edge(2), edge(4), row, rows, height);
                let across = cell(edge(1), edge(3), column, columns, width);
                let all = down.flat_map(|row| plane[row * width..][across.clone()].iter().copied());
                y[at * channels * rows * columns + place] = all.reduce(f32::max).unwrap_or(0.0);
            }
        }
        Ok(Data::F32(y))
    };
    let y = OnHost { name: "MaxRoiPool", shape, dtype: DType::F32, compute };
    call.like(0, y.of(&[&x, &regions]).cast(x.dtype()))
}

/// A convolution each of whose elements looks a distance away from its place in the window.
fn deformed(call: &Call) -> Result<Vec<Value>> {
    let (given, w, offset) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (x, w, offset) = (wide(&given), wide(&w), wide(&offset));
    let count = |name: &str| Ok::<_, crate::Error>(call.sizes(&[call.int(name, 1)])?[0]);
    let (groups, parts) = (count("group")?, count("offset_group")?);
    let (&[batch, channels, height, width], &[out, _, rows, columns], &[_, _, to_rows, to_columns]) =
        (&x.shape()[..], &w.shape()[..], &offset.shape()[..])
    else {
        return Err(call.unknown(format!("an image {} with offsets {}", x.shape(), offset.shape())));
    };
    let (window, places) = (rows * columns, to_rows * to_columns);
    let fits = groups > 0
        && parts > 0
        && channels.is_multiple_of(groups)
        && channels.is_multiple_of(parts)
        && out.is_multiple_of(groups)
        && w.size(1) * groups == channels
        && height * width > 0
        && window > 0
        && *offset.shape() == [batch, parts * window * 2, to_rows, to_columns];
    if !fits {
        return Err(call.fault(format!(
            "an image {}, a weight {}, offsets {}",
            x.shape(),
            w.shape(),
            offset.shape()
        )));
    }
    let moves = moves(call, &[height, width], &[rows, columns])?;
    call.room_of(&[batch, channels, window, places], 4)?;
    // [batch, parts, window, 2, places]
    let offset = offset.reshape([batch, parts, window, 2, places]);
    let grid = [window, places];
    let along = |axis: usize| {
        let (inner, to_inner) = (columns, to_columns);
        let (in_window, at) = (Tensor::index_along(grid, 0), Tensor::index_along(grid, 1));
        let (in_window, at) = match axis {
            0 => (in_window.div_trunc(inner as i64), at.div_trunc(to_inner as i64)),
            _ => (&in_window % inner as i64, &at % to_inner as i64),
        };
        let start = at * moves.stride[axis] as i64 + in_window * moves.dilation[axis] as i64;
        let start = (start - moves.pad[axis].0 as i64).cast(x.dtype());
        offset.narrow(3, axis as isize, 1).squeeze(3) + start
    };
    let (y, across) = (along(0), along(1));
    let image = x.reshape([batch, parts, channels / parts, height * width]);
    let mut sum: Option<Tensor> = None;
    for corner in 0..4 {
        // The element on one side of a point, its weight, and whether it is in the image.
        let side = |at: &Tensor, upper: bool, size: usize| {
            let floor = at.floor();
            let part = at - &floor;
            let (place, weight) = if upper { (floor + 1.0, part) } else { (floor, 1.0 - part) };
            let inside = place.ge(0.0).logical_and(&place.le(size as f64 - 1.0));
            (place.clamp(0.0, size as f64 - 1.0).cast(DType::I64), inside.select(weight, 0.0))
        };
        let (row, down) = side(&y, corner / 2 == 1, height);
        let (column, right) = side(&across, corner % 2 == 1, width);
        let index = (row * width as i64 + column).reshape([batch, parts, 1, window * places]);
        let index = index.broadcast_to([batch, parts, channels / parts, window * places]);
        let found = image.gather(3, &index) * (down * right).reshape([batch, parts, 1, window * places]);
        sum = Some(sum.map_or(found.clone(), |sum| sum + found));
    }
    let mut seen = sum.ok_or_else(|| call.fault("there is nothing to look at"))?;
    if let Some(mask) = call.optional(4)? {
        seen *= wide(&mask).reshape([batch, parts, 1, window * places]);
    }
    // [batch, groups, channels of one × window, places]
    let seen = seen.reshape([batch, groups, channels / groups * window, places]);
    let weight = w.reshape([1, groups, out / groups, channels / groups * window]);
    let y = weight.matmul(&seen).reshape([batch, out, to_rows, to_columns]);
    let bias = call.optional(3)?.map(|bias| wide(&bias));
    call.like(0, biased(call.sound(y)?, bias).cast(given.dtype()))
}
