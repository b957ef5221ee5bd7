//! What each kind of kernel computes, as operations of the graph's evaluator.

use kiln_compile::program::{
    AlongAxis, Attention, AttentionPass, Conv, ConvKind, Custom, Fused, Indexed, Matmul, Operation, Unpack,
    View, Window, WindowKind, accumulator,
};
use kiln_ir::eval::evaluate;
use kiln_ir::graph::GraphNode;
use kiln_ir::op::{
    AttentionOperand, AttentionValue, BinaryOp, BlockFormat, ConvSpec, Op, ReduceOp, ScatterMode, WindowSpec,
};
use kiln_ir::{DType, Data, Error, ErrorKind, Graph, Result, Scalar, Shape};

use super::ReferenceMachine;
use super::elements::{address, broken, of_scalars, places, points};

impl ReferenceMachine<'_> {
    /// The indices of gather and scatter, each below the size of its axis.
    pub(super) fn indices(&mut self, label: &str, indexed: &Indexed) -> Result<Vec<usize>> {
        let index = self.gather(&indexed.index, &indexed.loops)?;
        let within = |index: Scalar| {
            let index = index.as_i64();
            usize::try_from(index).ok().filter(|&index| index < indexed.size).ok_or_else(|| {
                let message = format!("index {index} is out of range for an axis of {}", indexed.size);
                Error::new(ErrorKind::Index, label, message).nowhere()
            })
        };
        index.scalars().into_iter().map(within).collect()
    }

    /// The elements at these points.
    pub(super) fn pick(&mut self, view: &View, points: &[Vec<usize>]) -> Result<Data> {
        let mut picked = Vec::new();
        for point in points {
            let at = View { offset: address(view, point)? as isize, strides: vec![], ..view.clone() };
            picked.push(self.gather(&at, &[])?.get(0).unwrap_or(Scalar::Int(0)));
        }
        Ok(of_scalars(view.dtype, picked))
    }

    pub(super) fn scatter(&mut self, label: &str, indexed: &Indexed, mode: ScatterMode) -> Result<()> {
        let index = self.indices(label, indexed)?;
        let source = self.gather(&indexed.x, &indexed.loops)?;
        for (position, mut point) in points(&indexed.loops).into_iter().enumerate() {
            point[indexed.axis] = index[position];
            let offset = address(&indexed.out, &point)? as isize;
            let place = View { offset, strides: vec![], ..indexed.out.clone() };
            let mut value = of_scalars(source.dtype(), source.get(position).into_iter().collect());
            if mode == ScatterMode::Add {
                let base = self.gather(&place, &[])?;
                let dtype = base.dtype();
                value = apply(
                    Op::Binary(BinaryOp::Add),
                    vec![(vec![], base), (vec![], value.cast(dtype))],
                    &[],
                    dtype,
                )?;
            }
            self.put(&place, &[], &value)?;
        }
        Ok(())
    }

    pub(super) fn custom(&mut self, custom: &Custom) -> Result<()> {
        let operands = custom.operands.iter();
        let operands = operands
            .map(|(shape, view)| Ok((shape.clone(), self.gather(view, shape)?)))
            .collect::<Result<Vec<_>>>()?;
        let borrowed: Vec<_> = operands.iter().map(|(shape, data)| (shape, data)).collect();
        let result = custom.op.compute(&borrowed)?;
        let (shape, view) = &custom.out;
        if result.dtype() != view.dtype || result.len() != shape.elements() {
            let (has, of) = (result.len(), result.dtype());
            let message =
                format!("computed {has} elements of {of}, not {} of {}", shape.elements(), view.dtype);
            return Err(Error::new(ErrorKind::Shape, custom.op.name(), message).nowhere());
        }
        self.put(view, shape, &result)
    }

    /// A fused body, instruction by instruction over all its points; `product` is what its accumulator holds.
    pub(super) fn fused(&mut self, fused: &Fused, product: Option<&Data>) -> Result<()> {
        let kept: Vec<usize> =
            fused.loops.iter().zip(&fused.reduced).map(|(&size, &r)| if r { 1 } else { size }).collect();
        let extent = |full: bool| if full { &fused.loops } else { &kept };
        let mut values: Vec<Data> = Vec::with_capacity(fused.body.len());
        for instruction in &fused.body {
            let sizes = extent(instruction.full);
            let value = {
                let operand = |at: usize| -> Result<(Vec<usize>, Data)> {
                    let (from, value) = (fused.body.get(at), values.get(at));
                    let (Some(from), Some(value)) = (from, value) else {
                        return Err(broken("an operand before its user"));
                    };
                    let value = match from.full == instruction.full {
                        true => value.clone(),
                        false if instruction.full => repeated(value, &kept, &fused.loops),
                        false => return Err(broken("a full operand of a kept value")),
                    };
                    Ok((sizes.clone(), value))
                };
                let dtype = instruction.dtype;
                match &instruction.operation {
                    Operation::Load(load) => {
                        let view = fused.loads.get(*load).ok_or_else(|| broken("a load that is there"))?;
                        self.gather(view, sizes)?
                    }
                    Operation::Accumulator => {
                        let dtype = accumulator(dtype).ok_or_else(|| broken("a product of numbers"))?;
                        product.ok_or_else(|| broken("a product"))?.cast(dtype)
                    }
                    Operation::Literal(scalar) => {
                        self.watch.read_infinity |= scalar.as_f64().is_infinite();
                        Data::filled(dtype, sizes.iter().product(), *scalar)
                    }
                    Operation::Index(axis) => {
                        let index = |point: &Vec<usize>| Scalar::Int(point[*axis] as i64);
                        of_scalars(dtype, points(sizes).iter().map(index).collect())
                    }
                    Operation::Unary(function, a) => {
                        apply(Op::Unary(*function), vec![operand(*a)?], sizes, dtype)?
                    }
                    Operation::Binary(function, a, b) => {
                        apply(Op::Binary(*function), vec![operand(*a)?, operand(*b)?], sizes, dtype)?
                    }
                    Operation::Select(a, b, c) => {
                        apply(Op::Select, vec![operand(*a)?, operand(*b)?, operand(*c)?], sizes, dtype)?
                    }
                    Operation::Cast(a) => apply(Op::Cast(dtype), vec![operand(*a)?], sizes, dtype)?,
                    Operation::Reduce(function, a) => {
                        let value = values.get(*a).ok_or_else(|| broken("an operand before its user"))?;
                        folded(*function, value, fused, dtype)?
                    }
                }
            };
            values.push(value);
        }
        for store in &fused.stores {
            let from = fused.body.get(store.value).ok_or_else(|| broken("a value to store"))?;
            self.put(&store.view, extent(from.full), &values[store.value])?;
        }
        Ok(())
    }

    pub(super) fn matmul(&mut self, matmul: &Matmul) -> Result<()> {
        let Matmul { batch, m, n, k, .. } = *matmul;
        let a = self.gather(&matmul.a, &[batch, m, k])?;
        let b = match matmul.packed {
            Some(format) => self.packed_columns(matmul, format)?,
            None => self.gather(&matmul.b, &[batch, k, n])?,
        };
        let dtype = a.dtype();
        let operands = vec![(vec![batch, m, k], a), (vec![batch, k, n], b)];
        let product = apply(Op::Matmul, operands, &[batch, m, n], dtype)?;
        self.fused(&matmul.epilogue, Some(&product))
    }

    /// The numbers of packed columns, `[k, n]`.
    fn packed_columns(&mut self, matmul: &Matmul, format: BlockFormat) -> Result<Data> {
        let (n, k) = (matmul.n, matmul.k);
        let bytes = matmul.column_elements();
        let [_, within, column] = matmul.b.strides[..] else { return Err(broken("three strides")) };
        let rows = View { strides: vec![column, within], ..matmul.b.clone() };
        let blocks = self.gather(&rows, &[n, bytes])?;
        let numbers = apply(Op::Unpack(format), vec![(vec![n, bytes], blocks)], &[n, k], DType::F32)?;
        apply(Op::Permute(vec![1, 0]), vec![(vec![n, k], numbers)], &[k, n], DType::F32)
    }

    pub(super) fn unpack(&mut self, work: &Unpack) -> Result<()> {
        let bytes = work.format.row_bytes(work.numbers).ok_or_else(|| broken("whole blocks"))?;
        let out = [work.rows, work.numbers];
        let blocks = self.gather(&work.blocks, &[work.rows, bytes])?;
        let numbers =
            apply(Op::Unpack(work.format), vec![(vec![work.rows, bytes], blocks)], &out, DType::F32)?;
        self.put(&work.out, &out, &numbers)
    }

    pub(super) fn conv(&mut self, conv: &Conv) -> Result<()> {
        let image = [vec![conv.batch, conv.in_channels], conv.input.to_vec()].concat();
        let weight = [vec![conv.out_channels, conv.in_channels / conv.groups], conv.window.to_vec()].concat();
        let result = [vec![conv.batch, conv.out_channels], conv.output.to_vec()].concat();
        let pad = pads(conv.input, conv.output, conv.window, conv.stride, conv.pad, conv.dilation);
        let spec = ConvSpec {
            stride: conv.stride.to_vec(),
            pad,
            dilation: conv.dilation.to_vec(),
            groups: conv.groups,
        };
        let (op, first, second, out) = match conv.kind {
            ConvKind::Forward => (Op::Conv(spec), image, weight, result),
            ConvKind::GradInput => (Op::ConvGradInput(spec, conv.input.to_vec()), result, weight, image),
            ConvKind::GradWeight => (Op::ConvGradWeight(spec, conv.window.to_vec()), image, result, weight),
        };
        let a = self.gather(&conv.a, &first)?;
        let b = self.gather(&conv.b, &second)?;
        let dtype = b.dtype();
        let value = apply(op, vec![(first, a), (second, b)], &out, dtype)?;
        // Rows and columns as the kernels lay them.
        let order = match conv.kind {
            ConvKind::Forward | ConvKind::GradInput => [0, 2, 3, 4, 1],
            ConvKind::GradWeight => [2, 3, 4, 1, 0],
        };
        let strides = Shape::from(out.as_slice()).strides();
        let turned =
            View { buffer: 0, dtype, offset: 0, strides: order.iter().map(|&axis| strides[axis]).collect() };
        let sizes: Vec<usize> = order.iter().map(|&axis| out[axis]).collect();
        let product = places(&turned, &sizes)?.into_iter().filter_map(|at| value.get(at)).collect();
        self.fused(&conv.epilogue, Some(&of_scalars(dtype, product)))
    }

    pub(super) fn window(&mut self, window: &Window) -> Result<()> {
        let image = [vec![window.batch, window.channels], window.input.to_vec()].concat();
        let result = [vec![window.batch, window.channels], window.output.to_vec()].concat();
        let Window { input, output, window: size, stride, pad, dilation, .. } = window;
        let spec = WindowSpec {
            window: size.to_vec(),
            stride: stride.to_vec(),
            pad: pads(*input, *output, *size, *stride, *pad, *dilation),
            dilation: dilation.to_vec(),
        };
        let (op, shapes, out) = match window.kind {
            WindowKind::Pick => (Op::WindowPick(spec), vec![image.clone(), image], result),
            WindowKind::Spread => (Op::WindowSpread(spec), vec![image.clone(), result], image),
            WindowKind::Sum => (Op::WindowSum(spec), vec![image], result),
            WindowKind::SumGrad => (Op::WindowSumGrad(spec, input.to_vec()), vec![result], image),
        };
        let operands = window.operands.iter().zip(shapes);
        let operands = operands
            .map(|(view, shape)| Ok((shape.clone(), self.gather(view, &shape)?)))
            .collect::<Result<Vec<_>>>()?;
        let value = apply(op, operands, &out, window.out.dtype)?;
        self.put(&window.out, &out, &value)
    }

    pub(super) fn attention(&mut self, work: &Attention) -> Result<()> {
        let sizes = &work.sizes;
        let places = [sizes.batch];
        let mut views =
            vec![(&work.query, sizes.query()), (&work.key, sizes.key()), (&work.value, sizes.value())];
        views.extend(work.mask.iter().map(|view| (view, sizes.scores())));
        views.extend(work.places.iter().map(|view| (view, places.to_vec())));
        views.extend(work.dropped.iter().map(|view| (view, vec![1])));
        let mut results = Vec::new();
        match &work.pass {
            AttentionPass::Forward { result, log_sum } => {
                results.extend(result.iter().map(|view| (AttentionValue::Result, view, sizes.result())));
                results.extend(log_sum.iter().map(|view| (AttentionValue::LogSum, view, sizes.rows())));
            }
            AttentionPass::Backward { log_sum, delta, gradient, of } => {
                views.extend([(log_sum, sizes.rows()), (delta, sizes.rows()), (gradient, sizes.result())]);
                let operands = [
                    (AttentionOperand::Query, sizes.query()),
                    (AttentionOperand::Key, sizes.key()),
                    (AttentionOperand::Value, sizes.value()),
                    (AttentionOperand::Mask, sizes.scores()),
                ];
                for (view, (operand, shape)) in of.iter().zip(operands) {
                    results.extend(
                        view.iter().map(|view| (AttentionValue::Gradient(operand), view, shape.clone())),
                    );
                }
            }
        }
        let operands = views
            .into_iter()
            .map(|(view, shape)| Ok((shape.clone(), self.gather(view, &shape)?)))
            .collect::<Result<Vec<_>>>()?;
        for (value, view, shape) in results {
            let found = apply(Op::Attention(work.spec, value), operands.clone(), &shape, view.dtype)?;
            self.put(view, &shape, &found)?;
        }
        Ok(())
    }

    pub(super) fn along(&mut self, along: &AlongAxis, op: Op, folds: bool) -> Result<()> {
        let x = self.gather(&along.x, &along.loops)?;
        let mut out = along.loops.clone();
        if folds && let Some(last) = out.last_mut() {
            *last = 1;
        }
        let value = apply(op, vec![(along.loops.clone(), x)], &out, along.out.dtype)?;
        self.put(&along.out, &out, &value)
    }
}

/// Padding in front and behind; what is left over at the end where the stride doesn't divide is cut off by the result's shape.
fn pads(
    input: [usize; 3],
    output: [usize; 3],
    window: [usize; 3],
    stride: [usize; 3],
    pad: [usize; 3],
    dilation: [usize; 3],
) -> Vec<(usize, usize)> {
    let behind = |axis: usize| {
        let extent = window[axis].saturating_sub(1) * dilation[axis] + 1;
        let needed = output[axis].saturating_sub(1) * stride[axis] + extent;
        needed.saturating_sub(input[axis] + pad[axis])
    };
    (0..3).map(|axis| (pad[axis], behind(axis))).collect()
}

/// One operation through the graph's evaluator.
fn apply(op: Op, operands: Vec<(Vec<usize>, Data)>, out: &[usize], dtype: DType) -> Result<Data> {
    let mut graph = Graph::default();
    for (position, (shape, data)) in operands.iter().enumerate() {
        let shape = Shape::from(shape.as_slice());
        graph.inputs.push((shape.clone(), data.dtype()));
        let op = Op::Input(position);
        graph.nodes.push(GraphNode { op, inputs: vec![], shape, dtype: data.dtype(), at: None });
    }
    let inputs = (0..operands.len()).collect();
    graph.nodes.push(GraphNode { op, inputs, shape: out.into(), dtype, at: None });
    graph.outputs.push(operands.len());
    let data: Vec<&Data> = operands.iter().map(|(_, data)| data).collect();
    let none = |_: &dyn kiln_ir::op::VariableHandle| Err(broken("no variable in a kernel"));
    evaluate(&graph, &data, &none)?.outputs.pop().ok_or_else(|| broken("a result"))
}

/// The fold of a full value over the reduced loops; floats are gathered in `f64`.
fn folded(function: ReduceOp, value: &Data, fused: &Fused, dtype: DType) -> Result<Data> {
    let wide = if dtype.is_float() { DType::F64 } else { dtype };
    let axes = (0..fused.loops.len()).filter(|&axis| fused.reduced[axis]).collect();
    let kept: Vec<usize> =
        fused.loops.iter().zip(&fused.reduced).map(|(&size, &r)| if r { 1 } else { size }).collect();
    let operands = vec![(fused.loops.clone(), value.cast(wide))];
    Ok(apply(Op::Reduce(function, axes), operands, &kept, wide)?.cast(dtype))
}

/// A kept value at every point of the loops.
fn repeated(value: &Data, kept: &[usize], loops: &[usize]) -> Data {
    let mut strides = Shape::from(kept).strides();
    strides.iter_mut().zip(kept.iter().zip(loops)).for_each(|(stride, (kept, size))| {
        if kept != size {
            *stride = 0;
        }
    });
    let at =
        |point: &Vec<usize>| -> isize { point.iter().zip(&strides).map(|(&i, &s)| i as isize * s).sum() };
    let values = points(loops).iter().filter_map(|point| value.get(at(point) as usize)).collect();
    of_scalars(value.dtype(), values)
}
