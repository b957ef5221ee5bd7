//! Each of kiln's operations with ONNX's.

use kiln_ir::op::{ArgOp, BinaryOp, ConvSpec, ReduceOp, ScatterMode, SliceRange, UnaryOp, WindowSpec};
use kiln_ir::{DType, Data, Op, Scalar, Shape};

use super::free::Extent;
use super::trace::Pair;
use super::{Attribute, GraphWriter};
use crate::error::{Error, Result};

/// The attributes of a convolution or pooling.
pub(super) fn windows(
    stride: &[usize],
    pad: &[(usize, usize)],
    dilation: &[usize],
) -> Vec<(&'static str, Attribute)> {
    let ints = |sizes: &[usize]| Attribute::Ints(sizes.iter().map(|&size| size as i64).collect());
    let pads: Vec<i64> = pad
        .iter()
        .map(|(before, _)| *before as i64)
        .chain(pad.iter().map(|(_, behind)| *behind as i64))
        .collect();
    let mut attributes = vec![("strides", ints(stride)), ("pads", Attribute::Ints(pads))];
    // Older poolings have no dilation to set.
    if dilation.iter().any(|by| *by != 1) {
        attributes.push(("dilations", ints(dilation)));
    }
    attributes
}

pub(super) fn sizes_of(sizes: &[usize]) -> Attribute {
    Attribute::Ints(sizes.iter().map(|&size| size as i64).collect())
}

impl GraphWriter<'_> {
    /// A value by the one operation that makes it.
    pub(super) fn operation(&mut self, pair: &Pair) -> Result<String> {
        let node = pair.a.clone();
        let dtype = node.dtype;
        Ok(match &node.op {
            Op::Input(position) => match self.names.get(*position) {
                Some(name) => name.clone(),
                None => return Err(self.refusal(pair, "an input that isn't declared")),
            },
            Op::Const(_) | Op::Var(_) => {
                return Err(self.refusal(pair, "a constant whose shape depends on the batch"));
            }
            // Of weights they are constants, unpacked.
            Op::Unpack(_) => return Err(self.refusal(pair, "packed numbers that aren't weights")),
            Op::Fill(number) => {
                let sizes = self.sizes(&pair.extents())?;
                let number = self.filling(pair, *number)?;
                self.builder.node("Expand", &[&number, &sizes], Vec::new())
            }
            Op::Iota(axis) => self.counting(pair, *axis)?,
            Op::Unary(function) => self.unary(*function, pair)?,
            Op::Binary(function) => self.binary(*function, pair)?,
            Op::Select => {
                let inputs = self.operands(pair)?;
                self.plain("Where", &inputs)
            }
            Op::Cast(to) => {
                let x = self.value(&pair.input(0))?;
                self.cast(&x, *to)
            }
            Op::Reshape => {
                let mut from = pair.input(0);
                while matches!(from.a.op, Op::Reshape) && self.is_plain(&from) {
                    from = from.input(0);
                }
                let x = self.value(&from)?;
                let extents = pair.extents();
                if extents == from.extents() {
                    return Ok(x);
                }
                let free = extents.iter().filter(|extent| !extent.is_fixed()).count();
                let sizes = match free {
                    0 | 1 => {
                        let size = |extent: &Extent| if extent.is_fixed() { extent.0 as i64 } else { -1 };
                        self.builder.ints(&extents.iter().map(size).collect::<Vec<_>>())
                    }
                    _ => self.sizes(&extents)?,
                };
                self.builder.node("Reshape", &[&x, &sizes], Vec::new())
            }
            Op::Permute(axes) => {
                let (mut axes, mut from) = (axes.clone(), pair.input(0));
                while let Op::Permute(before) = &from.a.op
                    && self.is_plain(&from)
                {
                    axes = axes.iter().map(|&axis| before[axis]).collect();
                    from = from.input(0);
                }
                let x = self.value(&from)?;
                match axes.iter().enumerate().all(|(place, axis)| place == *axis) {
                    true => x,
                    false => self.builder.node("Transpose", &[&x], vec![("perm", sizes_of(&axes))]),
                }
            }
            Op::Expand => {
                let x = self.value(&pair.input(0))?;
                let sizes = self.sizes(&pair.extents())?;
                self.builder.node("Expand", &[&x, &sizes], Vec::new())
            }
            Op::Slice(ranges) => self.slice(pair, ranges)?,
            Op::Pad { before, after, value } => {
                let Op::Pad { before: other, after: behind, .. } = &pair.b.op else {
                    return Err(self.uneven(pair));
                };
                if (before, after) != (other, behind) {
                    return Err(self.uneven(pair));
                }
                let x = self.value(&pair.input(0))?;
                let pads: Vec<i64> = before.iter().chain(after).map(|&width| width as i64).collect();
                let pads = self.builder.ints(&pads);
                let value = self.builder.scalar(&Data::filled(dtype, 1, *value));
                self.builder.node("Pad", &[&x, &pads, &value], Vec::new())
            }
            Op::Concat(axis) => {
                let inputs = self.values(&pair.inputs())?;
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.builder.node("Concat", &inputs, vec![("axis", Attribute::Int(*axis as i64))])
            }
            Op::Reduce(fold, axes) => self.reduce(*fold, axes, pair)?,
            Op::ArgReduce(which, axis) => {
                let x = self.value(&pair.input(0))?;
                let operator = if *which == ArgOp::Max { "ArgMax" } else { "ArgMin" };
                let axis = Attribute::Int(*axis as i64);
                self.builder.node(operator, &[&x], vec![("axis", axis), ("keepdims", Attribute::Int(1))])
            }
            Op::CumSum(axis) => {
                let x = self.value(&pair.input(0))?;
                let axis = self.builder.scalar(&Data::I64(vec![*axis as i64]));
                self.builder.node("CumSum", &[&x, &axis], Vec::new())
            }
            Op::ArgSort { axis, descending } => {
                let x = self.value(&pair.input(0))?;
                let count = self.sizes(&[pair.extents()[*axis]])?;
                let attributes = vec![
                    ("axis", Attribute::Int(*axis as i64)),
                    ("largest", Attribute::Int(i64::from(*descending))),
                    ("sorted", Attribute::Int(1)),
                ];
                self.builder.node_of("", "TopK", &[&x, &count], attributes, 2).remove(1)
            }
            Op::Matmul => {
                let inputs = self.values(&pair.inputs())?;
                self.plain("MatMul", &inputs)
            }
            Op::Conv(spec) => {
                let inputs = self.values(&pair.inputs())?;
                self.convolution(&inputs, spec, &node.inputs[1].shape[2..])
            }
            Op::ConvGradInput(spec, sizes) => {
                let inputs = self.values(&pair.inputs())?;
                self.transposed(&inputs, spec, &node.inputs[0].shape[2..], &node.inputs[1].shape[2..], sizes)
            }
            Op::WindowPick(spec) if node.inputs[0].id == node.inputs[1].id => {
                let x = self.value(&pair.input(0))?;
                let mut attributes = windows(&spec.stride, &spec.pad, &spec.dilation);
                attributes.push(("kernel_shape", sizes_of(&spec.window)));
                self.builder.node("MaxPool", &[&x], attributes)
            }
            Op::WindowSum(spec) if self.builder.opset() >= 19 || spec.dilation.iter().all(|by| *by == 1) => {
                let mean = self.mean_of_windows(pair, spec)?;
                let count = self.number(spec.window.iter().product::<usize>() as f64, dtype);
                self.plain("Mul", &[mean, count])
            }
            // Older poolings have no dilation; convolutions always had.
            Op::WindowSum(spec) => {
                let window = spec.window.clone();
                let (inputs, spec) = self.with_ones(pair, spec)?;
                self.convolution(&inputs, &spec, &window)
            }
            Op::WindowSumGrad(spec, sizes) => {
                let window = spec.window.clone();
                let (inputs, spec) = self.with_ones(pair, spec)?;
                self.transposed(&inputs, &spec, &node.inputs[0].shape[2..], &window, sizes)
            }
            Op::Gather(axis) => {
                let inputs = self.values(&pair.inputs())?;
                let axis = Attribute::Int(*axis as i64);
                self.with("GatherElements", &inputs, vec![("axis", axis)])
            }
            Op::Scatter(axis, mode) => {
                let inputs = self.values(&pair.inputs())?;
                let mut attributes = vec![("axis", Attribute::Int(*axis as i64))];
                if *mode == ScatterMode::Add {
                    if self.builder.opset() < 16 {
                        return Err(
                            self.refusal(pair, "adding at indices, which operators have since version 16")
                        );
                    }
                    attributes.push(("reduction", Attribute::Text("add".to_string())));
                }
                self.with("ScatterElements", &inputs, attributes)
            }
            Op::StopGradient | Op::Barrier(_) | Op::Rule(_) => self.value(&pair.input(0))?,
            Op::WindowPick(_) | Op::WindowSpread(_) => {
                return Err(self.refusal(pair, "a gradient of max pooling"));
            }
            Op::ConvGradWeight(..) => {
                return Err(self.refusal(pair, "a gradient of a convolution in its weight"));
            }
            // Those that no operator stands for were written out when the pass was traced.
            Op::Scan(..) => return Err(self.refusal(pair, "a scan within a gradient rule")),
            Op::Attention(..) => return Err(self.refusal(pair, "attention within a gradient rule")),
            Op::Custom(operation) => {
                let what = format!("{}, which is code of somebody's own", operation.0.name());
                return Err(self.refusal(pair, &what));
            }
        })
    }

    pub(super) fn plain(&mut self, operator: &str, inputs: &[String]) -> String {
        self.with(operator, inputs, Vec::new())
    }

    pub(super) fn with(
        &mut self,
        operator: &str,
        inputs: &[String],
        attributes: Vec<(&str, Attribute)>,
    ) -> String {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.builder.node(operator, &inputs, attributes)
    }

    /// Something that ONNX has no form for, with the line it was made in.
    pub(super) fn refusal(&self, pair: &Pair, what: &str) -> Error {
        let at = pair.a.at;
        Error::network(format!("{}:{}: {what} has no form in ONNX", at.file(), at.line()))
    }

    fn uneven(&self, pair: &Pair) -> Error {
        self.refusal(pair, &format!("{} that depends on the size of the batch", pair.a.op.name()))
    }

    fn unary(&mut self, function: UnaryOp, pair: &Pair) -> Result<String> {
        let x = self.value(&pair.input(0))?;
        let one = |this: &mut Self| this.number(1.0, pair.a.dtype);
        let operator = match function {
            UnaryOp::ExpM1 => {
                let (exp, one) = (self.plain("Exp", &[x]), one(self));
                return Ok(self.plain("Sub", &[exp, one]));
            }
            UnaryOp::Ln1p => {
                let one = one(self);
                let more = self.plain("Add", &[x, one]);
                return Ok(self.plain("Log", &[more]));
            }
            UnaryOp::Rsqrt => {
                let root = self.plain("Sqrt", &[x]);
                return Ok(self.plain("Reciprocal", &[root]));
            }
            UnaryOp::Neg => "Neg",
            UnaryOp::Abs => "Abs",
            UnaryOp::Sign => "Sign",
            UnaryOp::Exp => "Exp",
            UnaryOp::Ln => "Log",
            UnaryOp::Sqrt => "Sqrt",
            UnaryOp::Recip => "Reciprocal",
            UnaryOp::Sin => "Sin",
            UnaryOp::Cos => "Cos",
            UnaryOp::Tanh => "Tanh",
            UnaryOp::Sigmoid => "Sigmoid",
            UnaryOp::Erf => "Erf",
            UnaryOp::Relu => "Relu",
            UnaryOp::Floor => "Floor",
            UnaryOp::Ceil => "Ceil",
            UnaryOp::Round => "Round",
            UnaryOp::Not => "Not",
        };
        Ok(self.plain(operator, &[x]))
    }

    fn binary(&mut self, function: BinaryOp, pair: &Pair) -> Result<String> {
        let inputs = self.operands(pair)?;
        let is_bool = pair.a.inputs[0].dtype == DType::Bool;
        let by_bits = |name: &'static str, bits: &'static str| if is_bool { name } else { bits };
        if !is_bool
            && matches!(function, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
            && self.builder.opset() < 18
        {
            return Err(self.refusal(pair, "an operation on bits, which operators have since version 18,"));
        }
        Ok(match function {
            BinaryOp::Add => self.plain("Add", &inputs),
            BinaryOp::Sub => self.plain("Sub", &inputs),
            BinaryOp::Mul => self.plain("Mul", &inputs),
            BinaryOp::Div => self.plain("Div", &inputs),
            BinaryOp::Rem => self.with("Mod", &inputs, vec![("fmod", Attribute::Int(1))]),
            BinaryOp::Pow => self.plain("Pow", &inputs),
            BinaryOp::Max => self.plain("Max", &inputs),
            BinaryOp::Min => self.plain("Min", &inputs),
            BinaryOp::Lt => self.plain("Less", &inputs),
            BinaryOp::Le => self.plain("LessOrEqual", &inputs),
            BinaryOp::Eq => self.plain("Equal", &inputs),
            BinaryOp::Ne => {
                let equal = self.plain("Equal", &inputs);
                self.plain("Not", &[equal])
            }
            BinaryOp::And => self.plain(by_bits("And", "BitwiseAnd"), &inputs),
            BinaryOp::Or => self.plain(by_bits("Or", "BitwiseOr"), &inputs),
            BinaryOp::Xor => self.plain(by_bits("Xor", "BitwiseXor"), &inputs),
            BinaryOp::Random => return Err(self.refusal(pair, "a random number drawn by kiln's rule")),
        })
    }

    /// 0, 1, 2 … (`Range`) along an axis whose size depends on the batch.
    fn counting(&mut self, pair: &Pair, axis: usize) -> Result<String> {
        let extents = pair.extents();
        let size = self.sizes(&[extents[axis]])?;
        let none = self.builder.ints(&[]);
        let size = self.plain("Reshape", &[size, none]);
        let whole = |number: i64| Data::I64(vec![number]);
        let (zero, one) = (self.builder.scalar(&whole(0)), self.builder.scalar(&whole(1)));
        let mut numbers = self.plain("Range", &[zero, size, one]);
        if pair.a.dtype != DType::I64 {
            numbers = self.cast(&numbers, pair.a.dtype);
        }
        if extents.len() == 1 {
            return Ok(numbers);
        }
        let place: Vec<i64> = (0..extents.len()).map(|at| if at == axis { -1 } else { 1 }).collect();
        let place = self.builder.ints(&place);
        let numbers = self.plain("Reshape", &[numbers, place]);
        let sizes = self.sizes(&extents)?;
        Ok(self.plain("Expand", &[numbers, sizes]))
    }

    fn slice(&mut self, pair: &Pair, ranges: &[SliceRange]) -> Result<String> {
        let Op::Slice(others) = &pair.b.op else { return Err(self.uneven(pair)) };
        let sizes = pair.input(0).extents();
        let (mut starts, mut ends, mut axes, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut counts: Vec<(usize, Extent)> = Vec::new();
        for (axis, (range, other)) in ranges.iter().zip(others).enumerate() {
            let whole =
                |range: &SliceRange, size: usize| range.start == 0 && range.step == 1 && range.len == size;
            if whole(range, sizes[axis].0) && whole(other, sizes[axis].1) {
                continue;
            }
            // Counted from the end where that is what is the same in both traces.
            let from_end = range.start != other.start;
            let place = |range: &SliceRange, size: usize| match from_end {
                true => range.start as i64 - size as i64,
                false => range.start as i64,
            };
            let start = place(range, sizes[axis].0);
            // As many from the front as a free size says.
            if range.start == 0
                && other.start == 0
                && range.step == 1
                && other.step == 1
                && range.len != other.len
            {
                counts.push((starts.len(), pair.extents()[axis]));
                starts.push(0);
                ends.push(0);
                axes.push(axis as i64);
                steps.push(1);
                continue;
            }
            if start != place(other, sizes[axis].1) || range.step != other.step {
                return Err(self.uneven(pair));
            }
            let last = |range: &SliceRange| range.start as i64 + (range.len as i64 - 1) * range.step as i64;
            let reach = |range: &SliceRange, size: usize| match range.step > 0 {
                true => last(range) + range.step as i64 >= size as i64,
                false => last(range) + (range.step as i64) < 0,
            };
            let end = if range.len == 0 && other.len == 0 {
                start
            } else if reach(range, sizes[axis].0) && reach(other, sizes[axis].1) {
                if range.step > 0 { i64::MAX } else { i64::MIN }
            } else if range.len == other.len && !from_end {
                start + range.len as i64 * range.step as i64
            } else {
                // A fixed distance from the end.
                let ends = [(range, sizes[axis].0), (other, sizes[axis].1)]
                    .map(|(range, size)| last(range) + range.step.signum() as i64 - size as i64);
                if ends[0] != ends[1] || range.step < 0 {
                    return Err(self.uneven(pair));
                }
                ends[0]
            };
            starts.push(start);
            ends.push(end);
            axes.push(axis as i64);
            steps.push(range.step as i64);
        }
        let x = self.value(&pair.input(0))?;
        if axes.is_empty() {
            return Ok(x);
        }
        let mut inputs = vec![x];
        inputs.push(self.builder.ints(&starts));
        let mut parts = Vec::with_capacity(ends.len());
        for (place, &end) in ends.iter().enumerate().filter(|_| !counts.is_empty()) {
            parts.push(match counts.iter().find(|(known, _)| *known == place) {
                Some((_, extent)) => self.sizes(&[*extent])?,
                None => self.builder.ints(&[end]),
            });
        }
        inputs.push(match parts.as_slice() {
            [] => self.builder.ints(&ends),
            [one] => one.clone(),
            all => self.with("Concat", all, vec![("axis", Attribute::Int(0))]),
        });
        for numbers in [&axes, &steps] {
            inputs.push(self.builder.ints(numbers));
        }
        Ok(self.plain("Slice", &inputs))
    }

    fn reduce(&mut self, fold: ReduceOp, axes: &[usize], pair: &Pair) -> Result<String> {
        let mut x = self.value(&pair.input(0))?;
        let operator = match fold {
            ReduceOp::Sum => "ReduceSum",
            ReduceOp::Prod => "ReduceProd",
            ReduceOp::Max => "ReduceMax",
            ReduceOp::Min => "ReduceMin",
        };
        let is_bool = pair.a.dtype == DType::Bool;
        if is_bool {
            x = self.cast(&x, DType::I32);
        }
        let numbers: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let mut attributes = vec![("keepdims", Attribute::Int(1))];
        let mut inputs = vec![x];
        if fold == ReduceOp::Sum || self.builder.opset() >= 18 {
            inputs.push(self.builder.ints(&numbers));
        } else {
            attributes.push(("axes", Attribute::Ints(numbers)));
        }
        let y = self.with(operator, &inputs, attributes);
        Ok(if is_bool { self.cast(&y, DType::Bool) } else { y })
    }

    pub(super) fn convolution(&mut self, inputs: &[String], spec: &ConvSpec, window: &[usize]) -> String {
        let mut attributes = windows(&spec.stride, &spec.pad, &spec.dilation);
        attributes.push(("group", Attribute::Int(spec.groups as i64)));
        attributes.push(("kernel_shape", sizes_of(window)));
        self.with("Conv", inputs, attributes)
    }

    pub(super) fn transposed(
        &mut self,
        inputs: &[String],
        spec: &ConvSpec,
        from: &[usize],
        window: &[usize],
        to: &[usize],
    ) -> String {
        let extra = |axis: usize| {
            let covered = from[axis].saturating_sub(1) * spec.stride[axis]
                + (window[axis] - 1) * spec.dilation[axis]
                + 1;
            to[axis] + spec.pad[axis].0 + spec.pad[axis].1 - covered
        };
        let extra: Vec<usize> = (0..window.len()).map(extra).collect();
        let mut attributes = windows(&spec.stride, &spec.pad, &spec.dilation);
        attributes.push(("group", Attribute::Int(spec.groups as i64)));
        attributes.push(("kernel_shape", sizes_of(window)));
        attributes.push(("output_padding", sizes_of(&extra)));
        self.with("ConvTranspose", inputs, attributes)
    }

    /// The operand and a window of ones for each channel, with the convolution that sums over windows by them; transposed it spreads over
    /// them. AveragePool has no transpose in ONNX.
    fn with_ones(&mut self, pair: &Pair, spec: &WindowSpec) -> Result<(Vec<String>, ConvSpec)> {
        let from = pair.input(0);
        let channels = from.extents()[1];
        if !channels.is_fixed() {
            return Err(self.uneven(pair));
        }
        let x = self.value(&from)?;
        let shape = Shape::from([&[channels.0, 1], spec.window.as_slice()].concat());
        let ones = Data::filled(pair.a.dtype, shape.elements(), Scalar::Int(1));
        let ones = self.builder.constant("ones", &shape, &ones);
        let WindowSpec { stride, pad, dilation, .. } = spec.clone();
        Ok((vec![x, ones], ConvSpec { stride, pad, dilation, groups: channels.0 }))
    }

    /// The mean over each window, with padding counted.
    fn mean_of_windows(&mut self, pair: &Pair, spec: &WindowSpec) -> Result<String> {
        let x = self.value(&pair.input(0))?;
        let mut attributes = windows(&spec.stride, &spec.pad, &spec.dilation);
        attributes.push(("kernel_shape", sizes_of(&spec.window)));
        attributes.push(("count_include_pad", Attribute::Int(1)));
        Ok(self.builder.node("AveragePool", &[&x], attributes))
    }
}
