//! The memory each kind of kernel touches: its views, with the sizes of the loops each one runs over.

use std::borrow::Cow;

use crate::program::{
    Attention, AttentionPass, Conv, ConvKind, Fused, Indexed, View, Window, WindowKind, Work,
};

use super::Violation;

/// One view of a kernel and the loops that move it.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// What it is to the kernel.
    pub role: &'static str,
    /// The view.
    pub view: &'a View,
    /// A size for each of the view's strides.
    pub sizes: Cow<'a, [usize]>,
    /// Whether it is written.
    pub write: bool,
}

fn read<'a>(role: &'static str, view: &'a View, sizes: impl Into<Cow<'a, [usize]>>) -> Access<'a> {
    Access { role, view, sizes: sizes.into(), write: false }
}

fn write<'a>(role: &'static str, view: &'a View, sizes: impl Into<Cow<'a, [usize]>>) -> Access<'a> {
    Access { write: true, ..read(role, view, sizes) }
}

/// Everything a kernel touches.
///
/// # Errors
/// Where its accesses don't belong together.
pub fn accesses(work: &Work) -> Result<Vec<Access<'_>>, Violation> {
    let mut accesses = Vec::new();
    match work {
        Work::Fused(work) => fused(work, &mut accesses)?,
        Work::Matmul(work) => {
            accesses.push(read("left operand", &work.a, vec![work.batch, work.m, work.k]));
            accesses.push(read("right operand", &work.b, vec![work.batch, work.column_elements(), work.n]));
            fused(&work.epilogue, &mut accesses)?;
        }
        Work::Conv(work) => {
            let (image, weight, result) = (image_sizes(work), weight_sizes(work), result_sizes(work));
            let (a, b) = match work.kind {
                ConvKind::Forward => (image, weight),
                ConvKind::GradInput => (result, weight),
                ConvKind::GradWeight => (image, result),
            };
            accesses.push(read("first operand", &work.a, a));
            accesses.push(read("second operand", &work.b, b));
            fused(&work.epilogue, &mut accesses)?;
        }
        Work::Window(work) => {
            let (image, result) = (spatial(work, &work.input), spatial(work, &work.output));
            let operands = match work.kind {
                WindowKind::Pick => [Some(&image), Some(&image)],
                WindowKind::Spread => [Some(&image), Some(&result)],
                WindowKind::Sum => [Some(&image), None],
                WindowKind::SumGrad => [Some(&result), None],
            };
            let wanted = operands.iter().flatten().count();
            if work.operands.len() != wanted {
                return Err(format!("{} operands, not {wanted}", work.operands.len()));
            }
            for (view, sizes) in work.operands.iter().zip(operands.into_iter().flatten()) {
                accesses.push(read("operand", view, sizes.clone()));
            }
            let out = match work.kind {
                WindowKind::Pick | WindowKind::Sum => result,
                WindowKind::Spread | WindowKind::SumGrad => image,
            };
            accesses.push(write("result", &work.out, out));
        }
        Work::Gather(work) => {
            accesses.push(read("x", &work.x, whole_axis(work)?));
            accesses.push(read("index", &work.index, &work.loops));
            accesses.push(write("result", &work.out, &work.loops));
        }
        Work::Scatter(work, _) => {
            accesses.push(read("source", &work.x, &work.loops));
            accesses.push(read("index", &work.index, &work.loops));
            accesses.push(write("result", &work.out, whole_axis(work)?));
        }
        Work::ArgReduce(_, work) => {
            let mut kept = work.loops.clone();
            *kept.last_mut().ok_or("it has no loop")? = 1;
            accesses.push(read("x", &work.x, &work.loops));
            accesses.push(write("result", &work.out, kept));
        }
        Work::CumSum(work) | Work::ArgSort(_, work) => {
            accesses.push(read("x", &work.x, &work.loops));
            accesses.push(write("result", &work.out, &work.loops));
        }
        Work::Unpack(work) => {
            let bytes = work.format.row_bytes(work.numbers).ok_or("its rows aren't whole blocks")?;
            accesses.push(read("blocks", &work.blocks, vec![work.rows, bytes]));
            accesses.push(write("result", &work.out, vec![work.rows, work.numbers]));
        }
        Work::Attention(work) => attention(work, &mut accesses),
        Work::Custom(work) => {
            for (shape, view) in &work.operands {
                accesses.push(read("operand", view, shape.sizes()));
            }
            accesses.push(write("result", &work.out.1, work.out.0.sizes()));
        }
    }
    Ok(accesses)
}

fn attention<'a>(work: &'a Attention, accesses: &mut Vec<Access<'a>>) {
    let sizes = &work.sizes;
    accesses.push(read("query", &work.query, sizes.query()));
    accesses.push(read("key", &work.key, sizes.key()));
    accesses.push(read("value", &work.value, sizes.value()));
    accesses.extend(work.mask.iter().map(|view| read("mask", view, sizes.scores())));
    accesses.extend(work.places.iter().map(|view| read("places", view, vec![sizes.batch])));
    accesses.extend(work.dropped.iter().map(|view| read("key of what is dropped", view, vec![1])));
    match &work.pass {
        AttentionPass::Forward { result, log_sum } => {
            accesses.extend(result.iter().map(|view| write("result", view, sizes.result())));
            accesses.extend(log_sum.iter().map(|view| write("log sums", view, sizes.rows())));
        }
        AttentionPass::Backward { log_sum, delta, gradient, of } => {
            accesses.push(read("log sums", log_sum, sizes.rows()));
            accesses.push(read("delta", delta, sizes.rows()));
            accesses.push(read("gradient", gradient, sizes.result()));
            let shapes = [sizes.query(), sizes.key(), sizes.value(), sizes.scores()];
            for (view, shape) in of.iter().zip(shapes) {
                accesses.extend(view.iter().map(|view| write("gradient", view, shape.clone())));
            }
        }
    }
}

fn fused<'a>(work: &'a Fused, accesses: &mut Vec<Access<'a>>) -> Result<(), Violation> {
    for view in &work.loads {
        accesses.push(read("load", view, &work.loops));
    }
    let kept: Vec<usize> =
        work.loops.iter().zip(&work.reduced).map(|(&size, &r)| if r { 1 } else { size }).collect();
    for store in &work.stores {
        let full = work.body.get(store.value).ok_or("a store of a value that isn't there")?.full;
        accesses.push(if full {
            write("store", &store.view, &work.loops)
        } else {
            write("store", &store.view, kept.clone())
        });
    }
    Ok(())
}

fn whole_axis(work: &Indexed) -> Result<Vec<usize>, Violation> {
    let mut sizes = work.loops.clone();
    *sizes.get_mut(work.axis).ok_or("its axis isn't one of its loops")? = work.size;
    // With no index nothing is looked up, however large the axis.
    Ok(if work.loops.contains(&0) { work.loops.clone() } else { sizes })
}

fn with_channels(batch: usize, channels: usize, spatial: &[usize; 3]) -> Vec<usize> {
    vec![batch, channels, spatial[0], spatial[1], spatial[2]]
}

fn image_sizes(work: &Conv) -> Vec<usize> {
    with_channels(work.batch, work.in_channels, &work.input)
}

fn result_sizes(work: &Conv) -> Vec<usize> {
    with_channels(work.batch, work.out_channels, &work.output)
}

fn weight_sizes(work: &Conv) -> Vec<usize> {
    with_channels(work.out_channels, work.in_channels / work.groups.max(1), &work.window)
}

fn spatial(work: &Window, sizes: &[usize; 3]) -> Vec<usize> {
    with_channels(work.batch, work.channels, sizes)
}
