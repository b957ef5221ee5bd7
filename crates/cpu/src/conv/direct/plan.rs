//! How such a sum is planned: what each pixel sees, which pixels and columns are computed together, and in what order.

use kiln_compile::program::{Conv, ConvKind};

use super::{BlockPlan, ColumnPanel, DirectConv, TASKS, TilePlan, WeightLayout};
use crate::caches::caches;
use crate::conv::microkernel::{ConvMicrokernel, Segment};
use crate::conv::padding::PaddedImage;

/// Numbers of a weight that stay in a core's own cache beside all else.
fn in_cache() -> usize {
    caches().second / 16 * 5 / size_of::<f32>()
}

/// Numbers of an image that should do so beside a panel of a larger weight, and of sums that wait for their epilogue.
fn beside() -> usize {
    caches().second / 4 / size_of::<f32>()
}

/// Numbers of sums that wait for it beside a weight.
fn beside_a_weight() -> usize {
    caches().second / 16 / size_of::<f32>()
}

/// Rows that are worth reading a large weight for.
const WORTH: usize = 128;
/// For so few pixels laying out the weights isn't worth it, where they can be read as they lie.
const FEW_PIXELS: usize = 1024;

/// The part of all window positions inside of the image below which the others are left out.
const WORTH_SKIPPING: f64 = 0.85;

/// What tells the two uses apart.
struct Geometry {
    source: [usize; 3],
    channels: usize,
    result: [usize; 3],
    columns: usize,
    sum_stride: isize,
    column_stride: isize,
    /// Padding in front of the source.
    before: [usize; 3],
    /// The padded source.
    outer: [usize; 3],
    /// For each axis, residue classes: the pixels in it and the window positions they see, as (window position, offset
    /// in padded pixels from the pixel's own).
    axes: [Vec<AxisClass>; 3],
}

/// Along one axis: pixels, each with where it stands in the padded source, and the window positions they see.
#[derive(Clone)]
struct AxisClass {
    pixels: Vec<(usize, isize)>,
    positions: Vec<(usize, isize)>,
}

impl DirectConv {
    /// The plan of a convolution.
    pub(in crate::conv) fn forward(conv: &Conv, kernel: ConvMicrokernel, invariant: bool) -> DirectConv {
        let (before, outer, axes) = match seen(conv) < 1.0 {
            true => ([0; 3], conv.input, std::array::from_fn(|axis| inside(conv, axis))),
            false => {
                let mut outer = [0; 3];
                let axes = std::array::from_fn(|axis| {
                    let reach = (conv.window[axis] - 1) * conv.dilation[axis];
                    let last = (conv.output[axis] - 1) * conv.stride[axis] + reach + 1;
                    outer[axis] = last.max(conv.input[axis] + conv.pad[axis]);
                    vec![AxisClass {
                        pixels: (0..conv.output[axis])
                            .map(|o| (o, (o * conv.stride[axis]) as isize))
                            .collect(),
                        positions: positions(conv, axis).collect(),
                    }]
                });
                (conv.pad, outer, axes)
            }
        };
        let geometry = Geometry {
            source: conv.input,
            channels: conv.in_channels,
            result: conv.output,
            columns: conv.out_channels,
            sum_stride: conv.b.strides[1],
            column_stride: conv.b.strides[0],
            before,
            outer,
            axes,
        };
        DirectConv::plan(conv, kernel, geometry, invariant)
    }

    /// The plan of the gradient in the image.
    pub(in crate::conv) fn grad_input(conv: &Conv, kernel: ConvMicrokernel, invariant: bool) -> DirectConv {
        let (mut before, mut outer) = ([0; 3], [0; 3]);
        let axes = std::array::from_fn(|axis| {
            let (stride, dilation, pad) =
                (conv.stride[axis] as isize, conv.dilation[axis] as isize, conv.pad[axis] as isize);
            // Input pixel i gets the gradient of output pixel (i + pad - k·dilation) / stride where that is whole.
            let mut classes = Vec::new();
            let (mut lowest, mut highest) = (0isize, conv.output[axis] as isize - 1);
            for first in 0..stride.min(conv.input[axis] as isize) {
                let positions: Vec<(usize, isize)> = (0..conv.window[axis])
                    .map(|k| (k, first + pad - k as isize * dilation))
                    .filter(|(_, numerator)| numerator.rem_euclid(stride) == 0)
                    .map(|(k, numerator)| (k, numerator.div_euclid(stride)))
                    .collect();
                let pixels: Vec<(usize, isize)> = (first as usize..conv.input[axis])
                    .step_by(stride as usize)
                    .enumerate()
                    .map(|(index, pixel)| (pixel, index as isize))
                    .collect();
                for (_, offset) in &positions {
                    lowest = lowest.min(*offset);
                    highest = highest.max(offset + pixels.len() as isize - 1);
                }
                classes.push(AxisClass { pixels, positions });
            }
            before[axis] = (-lowest) as usize;
            outer[axis] = (highest - lowest + 1) as usize;
            for class in &mut classes {
                for pixel in &mut class.pixels {
                    pixel.1 += before[axis] as isize;
                }
            }
            classes
        });
        let geometry = Geometry {
            source: conv.output,
            channels: conv.out_channels,
            result: conv.input,
            columns: conv.in_channels,
            sum_stride: conv.b.strides[0],
            column_stride: conv.b.strides[1],
            before,
            outer,
            axes,
        };
        DirectConv::plan(conv, kernel, geometry, invariant)
    }

    fn plan(conv: &Conv, kernel: ConvMicrokernel, geometry: Geometry, invariant: bool) -> DirectConv {
        let Geometry { source, channels, result, columns, before, outer, .. } = geometry;
        let view = &conv.a.strides;
        let image =
            PaddedImage { channels, inner: source, before, outer, source: [view[2], view[3], view[4]] };
        let strides = if image.is_plain() { image.source } else { image.strides() };
        let image_stride = view[0];
        let between = if image.is_plain() { image_stride } else { image.len() as isize };
        let pixels: usize = result.iter().product();
        let (group_channels, group_columns) = (channels / conv.groups, columns / conv.groups);

        let panels = conv.groups * group_columns.div_ceil(kernel.columns);
        let numbers = panels * kernel.columns * group_channels * conv.window.iter().product::<usize>();
        let tiles_first = numbers <= in_cache();
        // Small images are taken several at a time, so that tiles are full, and a large weight is read for many of them.
        let rows = if tiles_first { 4 * kernel.rows } else { WORTH.max(4 * kernel.rows) };
        let mut images = rows.div_ceil(pixels.max(1)).clamp(1, conv.batch.div_ceil(4).max(1));
        while !conv.batch.is_multiple_of(images) {
            images -= 1;
        }
        let chunks = conv.batch / images;
        let split = chunks < 4;
        let parts = if split && !tiles_first && conv.groups == 1 { panels.min(TASKS) } else { 1 };

        let weight = &conv.b.strides;
        let weights = WeightLayout {
            window: conv.window,
            window_strides: [weight[2], weight[3], weight[4]],
            sum: group_channels,
            sum_stride: geometry.sum_stride,
            column_stride: geometry.column_stride,
            group_stride: (conv.out_channels / conv.groups) as isize * weight[0],
            wide: kernel.columns,
            packed: invariant || geometry.column_stride != 1 || conv.batch * pixels > FEW_PIXELS,
        };
        let each = group_columns.div_ceil(kernel.columns);
        let panels = (0..conv.groups * each)
            .map(|panel| {
                let (group, first) = (panel / each, panel % each * kernel.columns);
                let columns = group * group_columns + first
                    ..group * group_columns + (first + kernel.columns).min(group_columns);
                let b = match weights.packed {
                    true => (panel * weights.panel_len()) as isize,
                    false => group as isize * weights.group_stride + first as isize,
                };
                ColumnPanel { channel: group * group_channels, b, columns }
            })
            .collect();
        let mut classes = Vec::new();
        let mut members: Vec<(usize, Vec<(isize, usize)>)> = Vec::new();
        for depth in &geometry.axes[0] {
            for height in &geometry.axes[1] {
                for width in &geometry.axes[2] {
                    let mut segments: Vec<Segment> = Vec::new();
                    for &(kd, od) in &depth.positions {
                        for &(kh, oh) in &height.positions {
                            for &(kw, ow) in &width.positions {
                                segments.push(Segment {
                                    a: od * strides[0] + oh * strides[1] + ow * strides[2],
                                    b: weights.position([kd, kh, kw]),
                                    count: group_channels,
                                });
                            }
                        }
                    }
                    let mut rows = Vec::new();
                    for image in 0..images {
                        for &(z, az) in &depth.pixels {
                            for &(y, ay) in &height.pixels {
                                for &(x, ax) in &width.pixels {
                                    let row = image * pixels + (z * result[1] + y) * result[2] + x;
                                    let start = image as isize * between
                                        + az * strides[0]
                                        + ay * strides[1]
                                        + ax * strides[2];
                                    rows.push((start, row));
                                }
                            }
                        }
                    }
                    members.push((classes.len(), rows));
                    classes.push(joined(segments, weights.step()));
                }
            }
        }

        let rows = images * pixels;
        let block_rows = if classes.len() > 1 {
            rows
        } else {
            let most = match tiles_first {
                true => beside_a_weight() / columns.max(1),
                false => beside() / columns.max(channels).max(1),
            };
            let most = most.max(1).next_multiple_of(kernel.rows);
            // Few images: equal blocks, so that nobody waits long for the last one.
            let wanted = if split && parts == 1 { rows.div_ceil(TASKS).min(most) } else { most };
            wanted.clamp(1, rows.max(1))
        };
        let mut blocks: Vec<BlockPlan> = (0..rows)
            .step_by(block_rows.max(1))
            .map(|first| BlockPlan { first, rows: block_rows.min(rows - first), tiles: Vec::new() })
            .collect();
        for (class, list) in members {
            let mut rest = list.as_slice();
            while let Some(&(_, row)) = rest.first() {
                let index = row / block_rows;
                let block = &mut blocks[index];
                let inside = rest.iter().take_while(|(_, row)| row / block_rows == index).count();
                let (now, later) = rest.split_at(inside);
                rest = later;
                // Tiles of nearly equal size instead of full ones and a small rest.
                let tiles = now.len().div_ceil(kernel.rows);
                for tile in 0..tiles {
                    let part = &now[tile * now.len() / tiles..(tile + 1) * now.len() / tiles];
                    block.tiles.push(TilePlan {
                        class,
                        starts: part.iter().map(|(start, _)| *start).collect(),
                        rows: part.iter().map(|(_, row)| row - block.first).collect(),
                    });
                }
            }
        }
        DirectConv {
            kernel,
            image,
            image_stride,
            chunks,
            images,
            pixels,
            blocks,
            classes,
            weights,
            group_columns,
            split,
            parts,
            panels,
            tiles_first,
        }
    }
}

/// Along an axis, each position of the window with where it lies from the first.
fn positions(conv: &Conv, axis: usize) -> impl Iterator<Item = (usize, isize)> {
    (0..conv.window[axis]).map(move |k| (k, (k * conv.dilation[axis]) as isize))
}

/// Which part of a sum's window positions are walked over. A dilated window may have most of its own beside the image, whose zeros
/// then aren't added; that decides what comes of weights that aren't finite, so that it is for the layer alone to say.
pub(in crate::conv) fn seen(conv: &Conv) -> f64 {
    if conv.kind != ConvKind::Forward || conv.dilation == [1; 3] {
        return 1.0;
    }
    let along = |axis: usize| -> f64 {
        let classes = inside(conv, axis);
        let seen: usize = classes.iter().map(|class| class.pixels.len() * class.positions.len()).sum();
        seen as f64 / (conv.output[axis] * conv.window[axis]).max(1) as f64
    };
    let seen = (0..3).map(along).product();
    if seen < WORTH_SKIPPING { seen } else { 1.0 }
}

/// Along an axis, the pixels that see the same positions inside of the image, from where their windows start there.
fn inside(conv: &Conv, axis: usize) -> Vec<AxisClass> {
    let mut classes: Vec<AxisClass> = Vec::new();
    for o in 0..conv.output[axis] {
        let start = (o * conv.stride[axis]) as isize - conv.pad[axis] as isize;
        let within = 0..conv.input[axis] as isize;
        let positions: Vec<_> =
            positions(conv, axis).filter(|(_, offset)| within.contains(&(start + offset))).collect();
        match classes.iter_mut().find(|class| class.positions == positions) {
            Some(class) => class.pixels.push((o, start)),
            None => classes.push(AxisClass { pixels: vec![(o, start)], positions }),
        }
    }
    classes
}

/// Segments that follow on each other become one: the three channels times three positions of a line are nine steps.
fn joined(segments: Vec<Segment>, b_step: isize) -> Vec<Segment> {
    let mut result: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        if let Some(last) = result.last_mut()
            && segment.a == last.a + last.count as isize
            && segment.b == last.b + last.count as isize * b_step
        {
            last.count += segment.count;
        } else {
            result.push(segment);
        }
    }
    result
}
