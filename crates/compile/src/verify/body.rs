//! Whether a kernel makes sense in itself: instructions use earlier values of fitting dtypes and extents, and the
//! sizes of contractions, windows and index work agree with their accesses.

use crate::program::{
    AlongAxis, Attention, AttentionPass, AttentionSizes, Conv, ConvKind, Custom, Fused, Indexed, Instruction,
    Matmul, Operation, Unpack, View, Window, Work,
};
use kiln_ir::DType;
use kiln_ir::op::{BinaryOp, BlockFormat, ScatterMode};

use super::Violation;
use crate::program::accumulator;
use crate::target::{Channels, Target};

pub(super) fn check(work: &Work, target: &Target) -> Result<(), Violation> {
    for instruction in work.body().iter().flat_map(|fused| &fused.body) {
        let loads = matches!(instruction.operation, Operation::Load(_));
        rule(loads || target.computes.contains(&instruction.dtype), || {
            format!("{} doesn't compute in {}", target.name, instruction.dtype)
        })?;
    }
    if work.on_host() {
        rule(target.host, || format!("{} has no host to do it", target.name))?;
    }
    match work {
        Work::Fused(work) => fused(work, None),
        Work::Matmul(work) => matmul(work),
        Work::Conv(work) => conv(work, target),
        Work::Window(work) => window(work),
        Work::Gather(work) => indexed(work, target),
        Work::Scatter(work, mode) => {
            let adds_bools = *mode == ScatterMode::Add && work.x.dtype == DType::Bool;
            rule(!adds_bools, || "bools can't be added".into())?;
            indexed(work, target)
        }
        Work::ArgReduce(_, work) => {
            positions(work, target)?;
            rule(work.loops.last() != Some(&0), || "its axis is empty".into())
        }
        Work::ArgSort(_, work) => positions(work, target),
        Work::CumSum(work) => {
            rule(!work.loops.is_empty(), || "it has no loop".into())?;
            rule(work.x.dtype != DType::Bool, || "bools can't be added".into())?;
            same_dtype(&work.x, &work.out)
        }
        Work::Unpack(work) => unpack(work),
        Work::Attention(work) => attention(work, target),
        Work::Custom(work) => custom(work),
    }
}

fn rule(holds: bool, broken: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(broken()) }
}

fn same_dtype(a: &View, b: &View) -> Result<(), Violation> {
    rule(a.dtype == b.dtype, || format!("operands of {} and {}", a.dtype, b.dtype))
}

fn matmul(work: &Matmul) -> Result<(), Violation> {
    match work.packed {
        Some(format) => packed_columns(work, format)?,
        None => same_dtype(&work.a, &work.b)?,
    }
    epilogue(&work.epilogue, work.a.dtype, &[work.batch, work.m], work.n)
}

fn packed_columns(work: &Matmul, format: BlockFormat) -> Result<(), Violation> {
    rule(work.batch == 1, || format!("{} products of packed columns", work.batch))?;
    let bytes = format
        .row_bytes(work.k)
        .ok_or_else(|| format!("{} numbers aren't whole blocks of {format}", work.k))?;
    rule(work.a.dtype == DType::F32 && work.b.dtype == DType::U8, || {
        format!("packed columns of {} beside rows of {}", work.b.dtype, work.a.dtype)
    })?;
    rule(work.a.strides.get(2) == Some(&1) && work.b.strides.get(1) == Some(&1), || {
        "a row or a packed column isn't in one piece".into()
    })?;
    // Kernels go from column to column by their bytes alone, and from row to row forwards.
    rule(work.n < 2 || work.b.strides.get(2) == Some(&(bytes as isize)), || {
        format!("packed columns of {bytes} bytes that don't follow each other")
    })?;
    rule(work.m < 2 || work.a.strides.get(1).is_some_and(|&stride| stride >= 0), || {
        "rows that go backwards beside packed columns".into()
    })
}

fn unpack(work: &Unpack) -> Result<(), Violation> {
    rule(work.blocks.dtype == DType::U8 && work.out.dtype == DType::F32, || {
        format!("{} unpacked to {}", work.blocks.dtype, work.out.dtype)
    })?;
    let bytes = work.format.row_bytes(work.numbers).ok_or("its rows aren't whole blocks")?;
    let in_one_piece = |view: &View, row: usize| view.strides == [row as isize, 1];
    rule(in_one_piece(&work.blocks, bytes) && in_one_piece(&work.out, work.numbers), || {
        "a view that isn't row-major".into()
    })
}

fn conv(work: &Conv, target: &Target) -> Result<(), Violation> {
    same_dtype(&work.a, &work.b)?;
    let sizes = [work.window, work.stride, work.dilation, work.input, work.output];
    let counts = [work.batch, work.in_channels, work.out_channels, work.groups];
    rule(sizes.iter().flatten().chain(&counts).all(|&size| size > 0), || "a size is zero".into())?;
    rule(
        work.in_channels.is_multiple_of(work.groups) && work.out_channels.is_multiple_of(work.groups),
        || format!("{} groups don't divide its channels", work.groups),
    )?;
    reachable([&work.output, &work.stride, &work.window, &work.dilation, &work.pad])?;
    let anywhere = target.channels == Channels::Anywhere;
    let next = |view: &View, channels: usize| anywhere || channels == 1 || view.strides.get(1) == Some(&1);
    let (a, b) = match work.kind {
        ConvKind::Forward => (work.in_channels, None),
        ConvKind::GradInput => (work.out_channels, None),
        ConvKind::GradWeight => (work.in_channels, Some(work.out_channels)),
    };
    rule(next(&work.a, a) && b.is_none_or(|channels| next(&work.b, channels)), || {
        "the channels of an image aren't next to each other".into()
    })?;
    let [output, input, window] = [&work.output, &work.input, &work.window];
    match work.kind {
        ConvKind::Forward => epilogue(
            &work.epilogue,
            work.a.dtype,
            &[work.batch, output[0], output[1], output[2]],
            work.out_channels,
        ),
        ConvKind::GradInput => epilogue(
            &work.epilogue,
            work.a.dtype,
            &[work.batch, input[0], input[1], input[2]],
            work.in_channels,
        ),
        ConvKind::GradWeight => {
            let rows = [window[0], window[1], window[2], work.in_channels / work.groups];
            epilogue(&work.epilogue, work.a.dtype, &rows, work.out_channels)
        }
    }
}

/// The furthest position of a window is a number that positions are computed in.
fn reachable([output, stride, window, dilation, pad]: [&[usize; 3]; 5]) -> Result<(), Violation> {
    const FAR: i128 = 1 << 48;
    for axis in 0..3 {
        let furthest =
            output[axis] as i128 * stride[axis] as i128 + window[axis] as i128 * dilation[axis] as i128;
        rule(furthest < FAR && (pad[axis] as i128) < FAR, || format!("windows reach {furthest}"))?;
    }
    Ok(())
}

fn window(work: &Window) -> Result<(), Violation> {
    let sizes = [work.window, work.stride, work.dilation];
    rule(sizes.iter().flatten().all(|&size| size > 0), || "a size is zero".into())?;
    reachable([&work.output, &work.stride, &work.window, &work.dilation, &work.pad])?;
    rule(work.out.dtype != DType::Bool, || "bools can't be pooled".into())?;
    work.operands.iter().skip(1).chain([&work.out]).try_for_each(|view| match work.operands.last() {
        Some(last) => same_dtype(last, view),
        None => Ok(()),
    })
}

fn epilogue(epilogue: &Fused, operands: DType, rows: &[usize], columns: usize) -> Result<(), Violation> {
    let dtype = accumulator(operands).ok_or_else(|| format!("no products of {operands}"))?;
    fused(epilogue, Some(dtype))?;
    rule(!epilogue.reduced.contains(&true), || "an epilogue with a reduction".into())?;
    let count = |sizes: &[usize]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let fits = epilogue
        .loops
        .split_last()
        .is_some_and(|(&last, before)| last == columns && count(before) == count(rows));
    rule(fits, || format!("an epilogue over {:?} for rows {rows:?} and {columns} columns", epilogue.loops))
}

fn indexed(work: &Indexed, target: &Target) -> Result<(), Violation> {
    rule(work.index.dtype == target.index(), || format!("an index of {}", work.index.dtype))?;
    same_dtype(&work.x, &work.out)
}

fn positions(work: &AlongAxis, target: &Target) -> Result<(), Violation> {
    rule(!work.loops.is_empty(), || "it has no loop".into())?;
    rule(work.out.dtype == target.index(), || format!("positions as {}", work.out.dtype))
}

fn attention(work: &Attention, target: &Target) -> Result<(), Violation> {
    let AttentionSizes { heads, shared, width, value_width, .. } = work.sizes;
    rule(shared > 0 && heads.is_multiple_of(shared), || format!("{heads} heads share {shared}"))?;
    rule(width > 0 && value_width > 0, || "its rows have no width".into())?;
    let dtype = work.query.dtype;
    rule(dtype.is_float(), || format!("attention of {dtype}"))?;
    let is = |view: &View, wanted: DType| {
        rule(view.dtype == wanted, || format!("{} where {wanted} is needed", view.dtype))
    };
    is(&work.key, dtype).and(is(&work.value, dtype))?;
    rule(work.mask.is_some() == work.spec.masked, || "whether it has a mask isn't clear".into())?;
    rule(work.places.is_some() == work.spec.placed, || "whether it has places isn't clear".into())?;
    let drops = work.spec.dropout.is_some();
    rule(work.dropped.is_some() == drops, || "whether it has a key of what is dropped isn't clear".into())?;
    work.dropped.iter().try_for_each(|key| is(key, DType::I64))?;
    if let Some(mask) = work.mask.as_ref().filter(|mask| mask.dtype != DType::Bool) {
        is(mask, dtype)?;
    }
    if let Some(places) = &work.places {
        is(places, target.index())?;
    }
    let sums = kiln_ir::attention::sums(dtype);
    match &work.pass {
        AttentionPass::Forward { result, log_sum } => {
            result.iter().try_for_each(|view| is(view, dtype))?;
            log_sum.iter().try_for_each(|view| is(view, sums))
        }
        AttentionPass::Backward { log_sum, delta, gradient, of } => {
            is(log_sum, sums).and(is(delta, sums)).and(is(gradient, dtype))?;
            of.iter().flatten().try_for_each(|view| is(view, dtype))
        }
    }
}

fn custom(work: &Custom) -> Result<(), Violation> {
    for (shape, view) in work.operands.iter().chain([&work.out]) {
        let row_major =
            shape.iter().zip(shape.strides()).zip(&view.strides).all(|((&size, a), &b)| size < 2 || a == b);
        rule(row_major, || "a view that isn't row-major".into())?;
    }
    Ok(())
}

fn fused(work: &Fused, accumulator: Option<DType>) -> Result<(), Violation> {
    rule(work.reduced.len() == work.loops.len(), || "`reduced` and `loops` differ in length".into())?;
    for (position, instruction) in work.body.iter().enumerate() {
        check_instruction(work, position, instruction, accumulator)
            .map_err(|what| format!("instruction {position} ({:?}): {what}", instruction.operation))?;
    }
    for store in &work.stores {
        let value = work.body.get(store.value).ok_or("a store of a value that isn't there")?;
        let held = work.loops.iter().zip(&work.reduced).zip(&store.view.strides);
        let moves = held.into_iter().any(|((&size, &reduced), &stride)| reduced && size > 1 && stride != 0);
        rule(value.full || !moves, || "a kept value's store moves along a reduced loop".into())?;
    }
    let overwritten = work.overwritten();
    rule(overwritten.is_empty(), || format!("the loads {overwritten:?} are overwritten while they are used"))
}

fn check_instruction(
    work: &Fused,
    position: usize,
    instruction: &Instruction,
    accumulator: Option<DType>,
) -> Result<(), Violation> {
    let reduces = matches!(instruction.operation, Operation::Reduce(..));
    let value = |operand: usize| -> Result<&Instruction, Violation> {
        rule(operand < position, || format!("value {operand} isn't there yet"))?;
        let operand = &work.body[operand];
        rule(reduces || instruction.full || !operand.full, || "a kept value made of full ones".into())?;
        Ok(operand)
    };
    let is = |wanted: DType, has: DType| rule(wanted == has, || format!("{has} where {wanted} is needed"));
    let dtype = instruction.dtype;
    match instruction.operation {
        Operation::Load(i) => {
            let view = work.loads.get(i).ok_or("a load that isn't there")?;
            let mut moved = work.loops.iter().zip(&work.reduced).zip(&view.strides);
            let moves = moved.any(|((&size, &reduced), &stride)| reduced && size > 1 && stride != 0);
            rule(instruction.full || !moves, || "a kept load moves along a reduced loop".into())?;
            is(view.dtype, dtype)
        }
        Operation::Accumulator => {
            rule(instruction.full, || "an accumulator that is kept".into())?;
            is(accumulator.ok_or("an accumulator without a contraction")?, dtype)
        }
        Operation::Literal(_) => Ok(()),
        Operation::Index(axis) => {
            let reduced = *work.reduced.get(axis).ok_or("an index of a loop that isn't there")?;
            rule(instruction.full || !reduced, || "a kept index of a reduced loop".into())?;
            rule(matches!(dtype, DType::I32 | DType::I64), || format!("an index as {dtype}"))
        }
        Operation::Unary(_, a) => is(value(a)?.dtype, dtype),
        Operation::Binary(op, a, b) => {
            let (a, b) = (value(a)?.dtype, value(b)?.dtype);
            is(a, b)?;
            match op {
                BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq | BinaryOp::Ne => is(DType::Bool, dtype),
                BinaryOp::Random => is(DType::I64, a).and(is(DType::F32, dtype)),
                BinaryOp::Add
                | BinaryOp::Sub
                | BinaryOp::Mul
                | BinaryOp::Div
                | BinaryOp::Rem
                | BinaryOp::Pow
                | BinaryOp::Max
                | BinaryOp::Min
                | BinaryOp::And
                | BinaryOp::Or
                | BinaryOp::Xor => is(a, dtype),
            }
        }
        Operation::Select(condition, a, b) => {
            is(DType::Bool, value(condition)?.dtype)?;
            is(dtype, value(a)?.dtype).and(is(dtype, value(b)?.dtype))
        }
        Operation::Cast(a) => value(a).map(|_| ()),
        Operation::Reduce(_, a) => {
            let operand = value(a)?;
            rule(operand.full && !instruction.full, || "a reduction goes from full to kept".into())?;
            is(operand.dtype, dtype)
        }
    }
}
