//! Runs a program the obvious way: one kernel after the other, over bytes that overlap as the memory plan says, each kernel as
//! operations of the graph's evaluator on whole values.

use std::time::{Duration, Instant};

use kiln_compile::program::{
    Along, Conv, ConvKind, Custom, Fused, Indexed, Kernel, Matmul, Operation, Place, Program, View, Window,
    WindowKind, Work, accumulator,
};
use kiln_ir::eval::evaluate;
use kiln_ir::graph::GraphNode;
use kiln_ir::op::{BinaryOp, ConvSpec, Op, ReduceOp, ScatterMode, WindowSpec};
use kiln_ir::{DType, Data, Element, Error, ErrorKind, Graph, Result, Scalar, Shape, each_dtype};

/// The bytes of several values.
pub(crate) type Values = Vec<Vec<u8>>;

/// The bytes of everything a program touches.
pub(crate) struct Machine<'p> {
    program: &'p Program,
    arena: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    variables: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    /// What each kernel took.
    pub(crate) times: Vec<Duration>,
    watch: Watch,
}

/// What the running kernel read and stored that isn't finite.
#[derive(Debug, Default)]
struct Watch {
    read_infinity: bool,
    /// The buffer, the element and the value of the first `NaN`, and of the first infinity.
    nan: Option<(usize, usize, f64)>,
    infinity: Option<(usize, usize, f64)>,
}

impl<'p> Machine<'p> {
    /// A machine with these arguments and variables, as they are handed over. What a buffer holds as another dtype (for a target
    /// that doesn't store theirs) is converted.
    pub(crate) fn new(
        program: &'p Program,
        inputs: Vec<Vec<u8>>,
        variables: Vec<Vec<u8>>,
    ) -> Result<Machine<'p>> {
        // What isn't written yet is rubbish, so that reading it shows.
        let rubbish = |bytes: usize| -> Result<Vec<u8>> {
            let mut room = Vec::new();
            room.try_reserve_exact(bytes).map_err(|_| {
                Error::new(ErrorKind::Device, "run", format!("no memory for {bytes} bytes")).nowhere()
            })?;
            room.resize(bytes, 0xAA);
            Ok(room)
        };
        let convert = |bytes: Vec<u8>, place: Place, dtype: DType| match held(program, place, dtype) {
            same if same == dtype => Ok(bytes),
            other => Ok(native_bytes(&from_bytes(dtype, dtype, &bytes)?.cast(other))),
        };
        let inputs = inputs.into_iter().zip(&program.inputs).enumerate();
        let variables = variables.into_iter().zip(&program.variables).enumerate();
        let outputs = program.outputs.iter().enumerate();
        Ok(Machine {
            program,
            arena: rubbish(program.arena)?,
            inputs: inputs
                .map(|(i, (bytes, (_, dtype)))| convert(bytes, Place::Input(i), *dtype))
                .collect::<Result<_>>()?,
            variables: variables
                .map(|(i, (bytes, variable))| convert(bytes, Place::Variable(i), variable.dtype()))
                .collect::<Result<_>>()?,
            outputs: outputs
                .map(|(i, (shape, dtype))| {
                    rubbish(shape.elements() * held(program, Place::Output(i), *dtype).size())
                })
                .collect::<Result<_>>()?,
            times: Vec::new(),
            watch: Watch::default(),
        })
    }

    /// Runs all kernels; with `checks` the first that stores a `NaN` (or an infinity from finite numbers) ends it.
    pub(crate) fn run(&mut self, checks: bool) -> Result<()> {
        for kernel in &self.program.kernels {
            let began = Instant::now();
            self.watch = Watch::default();
            self.kernel(kernel).map_err(|error| match (error.at, kernel.at) {
                (None, Some(at)) => error.at(at),
                _ => error,
            })?;
            self.times.push(began.elapsed());
            if checks {
                self.look(kernel)?;
            }
        }
        Ok(())
    }

    /// The variables and the outputs, as they are handed over.
    pub(crate) fn results(self) -> Result<(Values, Values)> {
        let program = self.program;
        let convert = |bytes: Vec<u8>, place: Place, dtype: DType| match held(program, place, dtype) {
            same if same == dtype => Ok(bytes),
            other => Ok(native_bytes(&from_bytes(other, other, &bytes)?.cast(dtype))),
        };
        let variables = self.variables.into_iter().zip(&program.variables).enumerate();
        let outputs = self.outputs.into_iter().zip(&program.outputs).enumerate();
        Ok((
            variables
                .map(|(i, (bytes, variable))| convert(bytes, Place::Variable(i), variable.dtype()))
                .collect::<Result<_>>()?,
            outputs
                .map(|(i, (bytes, (_, dtype)))| convert(bytes, Place::Output(i), *dtype))
                .collect::<Result<_>>()?,
        ))
    }

    /// The error for what a kernel stored that isn't finite.
    fn look(&self, kernel: &Kernel) -> Result<()> {
        let infinity = self.watch.infinity.filter(|_| !self.watch.read_infinity);
        let Some((buffer, element, value)) = self.watch.nan.or(infinity) else { return Ok(()) };
        let place = match self.program.buffers[buffer].place {
            Place::Variable(i) => format!("variable {i} ({})", self.program.variables[i].name()),
            Place::Input(_) | Place::Output(_) | Place::Arena(_) => self.program.buffer_name(buffer),
        };
        let message =
            format!("its store put {value} into element {element} of {place}, the first that isn't finite");
        let mut error = Error::new(ErrorKind::NonFinite, kernel.label.clone(), message);
        error.at = kernel.at;
        Err(error)
    }

    fn bytes(&mut self, buffer: usize) -> Result<(&mut [u8], DType)> {
        let found = self.program.buffers.get(buffer).ok_or_else(|| broken("a buffer that isn't there"))?;
        let size = found.elements * found.dtype.size();
        let bytes = match found.place {
            Place::Input(i) => self.inputs.get_mut(i).map(Vec::as_mut_slice),
            Place::Variable(i) => self.variables.get_mut(i).map(Vec::as_mut_slice),
            Place::Output(i) => self.outputs.get_mut(i).map(Vec::as_mut_slice),
            Place::Arena(offset) => self.arena.get_mut(offset..offset + size),
        };
        let bytes = bytes.filter(|bytes| bytes.len() == size);
        Ok((bytes.ok_or_else(|| broken("a buffer of another size than its place"))?, found.dtype))
    }

    /// The elements of a view over loops, the last fastest.
    fn gather(&mut self, view: &View, loops: &[usize]) -> Result<Data> {
        let places = places(view, loops)?;
        let (bytes, dtype) = self.bytes(view.buffer)?;
        let size = dtype.size();
        let mut picked = Vec::with_capacity(places.len() * size);
        for at in places {
            let element = bytes.get(at * size..(at + 1) * size);
            picked.extend_from_slice(element.ok_or_else(|| broken("a view that leaves its buffer"))?);
        }
        let data = from_bytes(view.dtype, dtype, &picked)?;
        self.watch.read_infinity |= dtype.is_float() && infinite(&data);
        Ok(data)
    }

    /// Puts elements where a view over loops says.
    fn put(&mut self, view: &View, loops: &[usize], values: &Data) -> Result<()> {
        let places = places(view, loops)?;
        let (values, watched) = (values.cast(view.dtype), view.dtype.is_float());
        if places.len() != values.len() {
            return Err(broken("as many values as it has points"));
        }
        let (bytes, dtype) = self.bytes(view.buffer)?;
        if dtype != view.dtype {
            return Err(broken("a view of another dtype than its buffer"));
        }
        let (size, source) = (dtype.size(), native_bytes(&values));
        let (mut nan, mut infinity) = (None, None);
        for (position, &at) in places.iter().enumerate() {
            let target = bytes.get_mut(at * size..(at + 1) * size);
            target
                .ok_or_else(|| broken("a view that leaves its buffer"))?
                .copy_from_slice(&source[position * size..(position + 1) * size]);
            if watched
                && let Some(value) = values.get(position).map(Scalar::as_f64).filter(|v| !v.is_finite())
            {
                let first = if value.is_nan() { &mut nan } else { &mut infinity };
                first.get_or_insert((view.buffer, at, value));
            }
        }
        self.watch.nan = self.watch.nan.or(nan);
        self.watch.infinity = self.watch.infinity.or(infinity);
        Ok(())
    }

    fn kernel(&mut self, kernel: &Kernel) -> Result<()> {
        match &kernel.work {
            Work::Fused(fused) => self.fused(fused, None),
            Work::Matmul(matmul) => self.matmul(matmul),
            Work::Conv(conv) => self.conv(conv),
            Work::Window(window) => self.window(window),
            Work::Gather(indexed) => {
                let index = self.indices(&kernel.label, indexed)?;
                let mut points = points(&indexed.loops);
                points.iter_mut().zip(index).for_each(|(point, index)| point[indexed.axis] = index);
                let values = self.pick(&indexed.x, &points)?;
                self.put(&indexed.out, &indexed.loops, &values)
            }
            Work::Scatter(indexed, mode) => self.scatter(&kernel.label, indexed, *mode),
            Work::ArgReduce(function, along) => {
                let axis = along.loops.len().saturating_sub(1);
                self.along(along, Op::ArgReduce(*function, axis), true)
            }
            Work::CumSum(along) => self.along(along, Op::CumSum(along.loops.len().saturating_sub(1)), false),
            Work::ArgSort(descending, along) => {
                let axis = along.loops.len().saturating_sub(1);
                self.along(along, Op::ArgSort { axis, descending: *descending }, false)
            }
            Work::Custom(custom) => self.custom(custom),
        }
    }

    /// The indices of gather and scatter, each below the size of its axis.
    fn indices(&mut self, label: &str, indexed: &Indexed) -> Result<Vec<usize>> {
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
    fn pick(&mut self, view: &View, points: &[Vec<usize>]) -> Result<Data> {
        let mut picked = Vec::new();
        for point in points {
            let at = View { offset: address(view, point)? as isize, strides: vec![], ..view.clone() };
            picked.push(self.gather(&at, &[])?.get(0).unwrap_or(Scalar::Int(0)));
        }
        Ok(of_scalars(view.dtype, picked))
    }

    fn scatter(&mut self, label: &str, indexed: &Indexed, mode: ScatterMode) -> Result<()> {
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

    fn custom(&mut self, custom: &Custom) -> Result<()> {
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
    fn fused(&mut self, fused: &Fused, product: Option<&Data>) -> Result<()> {
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

    fn matmul(&mut self, matmul: &Matmul) -> Result<()> {
        let Matmul { batch, m, n, k, .. } = *matmul;
        let a = self.gather(&matmul.a, &[batch, m, k])?;
        let b = self.gather(&matmul.b, &[batch, k, n])?;
        let dtype = a.dtype();
        let operands = vec![(vec![batch, m, k], a), (vec![batch, k, n], b)];
        let product = apply(Op::Matmul, operands, &[batch, m, n], dtype)?;
        self.fused(&matmul.tail, Some(&product))
    }

    fn conv(&mut self, conv: &Conv) -> Result<()> {
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
        self.fused(&conv.tail, Some(&of_scalars(dtype, product)))
    }

    fn window(&mut self, window: &Window) -> Result<()> {
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

    fn along(&mut self, along: &Along, op: Op, folds: bool) -> Result<()> {
        let x = self.gather(&along.x, &along.loops)?;
        let mut out = along.loops.clone();
        if folds && let Some(last) = out.last_mut() {
            *last = 1;
        }
        let value = apply(op, vec![(along.loops.clone(), x)], &out, along.out.dtype)?;
        self.put(&along.out, &out, &value)
    }
}

/// The dtype that buffers of a place hold; that of what is handed over where there is no buffer.
fn held(program: &Program, place: Place, dtype: DType) -> DType {
    program.buffers.iter().find(|buffer| buffer.place == place).map_or(dtype, |buffer| buffer.dtype)
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
    let none = |_: &dyn kiln_ir::op::Variable| Err(broken("no variable in a kernel"));
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

/// Every combination of loop indices, the last fastest.
fn points(loops: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Vec::with_capacity(loops.iter().product());
    let mut point = vec![0; loops.len()];
    if loops.contains(&0) {
        return all;
    }
    loop {
        all.push(point.clone());
        let Some(axis) = (0..loops.len()).rev().find(|&axis| point[axis] + 1 < loops[axis]) else {
            return all;
        };
        point[axis] += 1;
        point[axis + 1..].fill(0);
    }
}

/// The position of each element of a view over loops.
fn places(view: &View, loops: &[usize]) -> Result<Vec<usize>> {
    points(loops).iter().map(|point| address(view, point)).collect()
}

fn address(view: &View, point: &[usize]) -> Result<usize> {
    if view.strides.len() != point.len() {
        return Err(broken("a view with a stride for each loop"));
    }
    let moved: isize = point.iter().zip(&view.strides).map(|(&i, &s)| i as isize * s).sum();
    usize::try_from(view.offset + moved).map_err(|_| broken("a view that stays in its buffer"))
}

fn of_scalars(dtype: DType, values: Vec<Scalar>) -> Data {
    each_dtype!(dtype, T => <T as Element>::wrap(values.into_iter().map(<T as Element>::from_scalar).collect()))
}

fn infinite(data: &Data) -> bool {
    data.scalars().iter().any(|value| value.as_f64().is_infinite())
}

/// The elements that lie in memory.
pub(crate) fn from_bytes(wanted: DType, dtype: DType, bytes: &[u8]) -> Result<Data> {
    if wanted != dtype {
        return Err(broken("a view of another dtype than its buffer"));
    }
    if cfg!(target_endian = "little") {
        return Ok(Data::from_le_bytes(dtype, bytes));
    }
    let mut turned = bytes.to_vec();
    turned.chunks_mut(dtype.size()).for_each(<[u8]>::reverse);
    Ok(Data::from_le_bytes(dtype, &turned))
}

/// The elements as they lie in memory.
pub(crate) fn native_bytes(data: &Data) -> Vec<u8> {
    let mut bytes = data.to_le_bytes();
    if cfg!(target_endian = "big") {
        bytes.chunks_mut(data.dtype().size()).for_each(<[u8]>::reverse);
    }
    bytes
}

fn broken(wanted: &str) -> Error {
    Error::new(ErrorKind::Device, "reference", format!("the program should have {wanted}, and hasn't"))
        .nowhere()
}
