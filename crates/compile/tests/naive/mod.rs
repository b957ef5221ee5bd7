//! Runs programs the obvious way: one element at a time, over bytes that overlap as the memory plan says. The compiler
//! is held against the graph's own evaluator with it, before any device comes into play.

use std::collections::HashMap;

use kiln_compile::program::{
    Along, Conv, ConvKind, Fused, Indexed, Matmul, Operation, Place, Program, View, Window, WindowKind, Work,
    accumulator,
};
use kiln_ir::eval::{evaluate, pointwise_constant};
use kiln_ir::graph::GraphNode;
use kiln_ir::kind::Pointwise;
use kiln_ir::op::{ConvSpec, Op, ReduceOp, ScatterMode, WindowSpec};
use kiln_ir::{DType, Data, Graph, Scalar, Shape, each_dtype};

/// The result of a contraction, by loop indices.
type Product<'a> = &'a dyn Fn(&[usize]) -> Scalar;

/// The bytes of everything a program touches.
pub struct Machine<'a> {
    program: &'a Program,
    arena: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    variables: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

pub fn bytes_of(data: &Data) -> Vec<u8> {
    match data {
        Data::Bool(v) => v.iter().map(|&b| u8::from(b)).collect(),
        Data::U8(v) => v.clone(),
        Data::U16(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::F16(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::Bf16(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::F32(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
    }
}

pub fn data_of(bytes: &[u8], dtype: DType) -> Data {
    macro_rules! read {
        ($variant:ident, $type:ty) => {
            Data::$variant(
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|c| <$type>::from_ne_bytes(c.try_into().unwrap()))
                    .collect(),
            )
        };
    }
    match dtype {
        DType::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::U16 => read!(U16, u16),
        DType::I32 => read!(I32, i32),
        DType::I64 => read!(I64, i64),
        DType::F16 => read!(F16, kiln_ir::half::f16),
        DType::Bf16 => read!(Bf16, kiln_ir::half::bf16),
        DType::F32 => read!(F32, f32),
        DType::F64 => read!(F64, f64),
    }
}

/// Runs the program; gives outputs and the variables' new values.
pub fn run(program: &Program, inputs: &[&Data], variables: &[Data]) -> (Vec<Data>, Vec<Data>) {
    // What isn't held as it is handed over is converted.
    let held = |place: Place, dtype: DType| {
        program.buffers.iter().find(|buffer| buffer.place == place).map_or(dtype, |buffer| buffer.dtype)
    };
    let outputs: Vec<(&Shape, DType, DType)> = (0..)
        .zip(&program.outputs)
        .map(|(i, (shape, dtype))| (shape, *dtype, held(Place::Output(i), *dtype)))
        .collect();
    let convert = |data: &Data, place: Place| bytes_of(&data.cast(held(place, data.dtype())));
    let mut machine = Machine {
        program,
        arena: vec![0xAA; program.arena],
        inputs: (0..).zip(inputs).map(|(i, data)| convert(data, Place::Input(i))).collect(),
        variables: (0..).zip(variables).map(|(i, data)| convert(data, Place::Variable(i))).collect(),
        outputs: outputs.iter().map(|(shape, _, held)| vec![0xAA; shape.elements() * held.size()]).collect(),
    };
    for kernel in &program.kernels {
        machine.kernel(&kernel.work);
    }
    let given = machine.outputs.iter().zip(&outputs);
    let given = given.map(|(bytes, (_, dtype, held))| data_of(bytes, *held).cast(*dtype)).collect();
    let kept = (0..).zip(&machine.variables).zip(&program.variables);
    let kept = kept.map(|((i, bytes), variable)| {
        data_of(bytes, held(Place::Variable(i), variable.dtype())).cast(variable.dtype())
    });
    (given, kept.collect())
}

/// Every combination of loop indices, the last fastest.
fn points(loops: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in loops {
        all = all
            .into_iter()
            .flat_map(|p: Vec<usize>| (0..size).map(move |i| [p.clone(), vec![i]].concat()))
            .collect();
    }
    all
}

impl Machine<'_> {
    fn bytes(&mut self, buffer: usize) -> (&mut [u8], DType) {
        let buffer = &self.program.buffers[buffer];
        let size = buffer.elements * buffer.dtype.size();
        let bytes = match buffer.place {
            Place::Input(i) => &mut self.inputs[i][..],
            Place::Variable(i) => &mut self.variables[i][..],
            Place::Output(i) => &mut self.outputs[i][..],
            Place::Arena(offset) => &mut self.arena[offset..offset + size],
        };
        assert_eq!(bytes.len(), size, "a buffer of another size than its place");
        (bytes, buffer.dtype)
    }

    fn address(view: &View, point: &[usize]) -> usize {
        assert_eq!(view.strides.len(), point.len(), "a view with other loops");
        let at: isize =
            view.offset + point.iter().zip(&view.strides).map(|(&i, &s)| i as isize * s).sum::<isize>();
        usize::try_from(at).expect("a view that leaves its buffer")
    }

    fn get(&mut self, view: &View, point: &[usize]) -> Scalar {
        let at = Self::address(view, point);
        let (bytes, dtype) = self.bytes(view.buffer);
        assert_eq!(dtype, view.dtype);
        let size = dtype.size();
        data_of(&bytes[at * size..(at + 1) * size], dtype).get(0).unwrap()
    }

    fn put(&mut self, view: &View, point: &[usize], value: Scalar) {
        let at = Self::address(view, point);
        let (bytes, dtype) = self.bytes(view.buffer);
        assert_eq!(dtype, view.dtype);
        let data = Data::filled(dtype, 1, value);
        let size = dtype.size();
        bytes[at * size..(at + 1) * size].copy_from_slice(&bytes_of(&data));
    }

    /// A view's elements over loops as host data.
    fn gather(&mut self, view: &View, loops: &[usize]) -> Data {
        let values: Vec<Scalar> = points(loops).iter().map(|point| self.get(view, point)).collect();
        each_dtype!(view.dtype, T => <T as kiln_ir::Element>::wrap(values.into_iter().map(<T as kiln_ir::Element>::from_scalar).collect()))
    }

    fn kernel(&mut self, work: &Work) {
        match work {
            Work::Fused(fused) => self.fused(fused, None),
            Work::Matmul(matmul) => self.matmul(matmul),
            Work::Conv(conv) => self.conv(conv),
            Work::Window(window) => self.window(window),
            Work::Gather(indexed) => {
                for point in points(&indexed.loops) {
                    let at = self.get(&indexed.index, &point).as_i64() as usize;
                    let mut from = point.clone();
                    from[indexed.axis] = at;
                    let value = self.get(&indexed.x, &from);
                    self.put(&indexed.out, &point, value);
                }
            }
            Work::Scatter(indexed, mode) => self.scatter(indexed, *mode),
            Work::ArgReduce(function, along) => {
                let axis = along.loops.len() - 1;
                let op = |_: &Along| Op::ArgReduce(*function, axis);
                self.along(along, op(along), true);
            }
            Work::CumSum(along) => self.along(along, Op::CumSum(along.loops.len() - 1), false),
            Work::ArgSort(descending, along) => {
                let op = Op::ArgSort { axis: along.loops.len() - 1, descending: *descending };
                self.along(along, op, false);
            }
            Work::Custom(custom) => {
                let operands: Vec<(Shape, Data)> = custom
                    .operands
                    .iter()
                    .map(|(shape, view)| (shape.clone(), self.gather(view, shape)))
                    .collect();
                let borrowed: Vec<_> = operands.iter().map(|(shape, data)| (shape, data)).collect();
                let result = custom.op.compute(&borrowed).unwrap();
                for (position, point) in points(&custom.out.0).iter().enumerate() {
                    self.put(&custom.out.1, point, result.get(position).unwrap());
                }
            }
        }
    }

    fn fused(&mut self, fused: &Fused, product: Option<Product>) {
        assert!(fused.loops.iter().all(|&size| size > 0));
        let all = points(&fused.loops);
        let kept_of = |point: &[usize]| -> Vec<usize> {
            point.iter().zip(&fused.reduced).map(|(&i, &reduced)| if reduced { 0 } else { i }).collect()
        };
        let mut values: Vec<HashMap<Vec<usize>, Scalar>> = Vec::new();
        for instruction in &fused.body {
            let mut value: HashMap<Vec<usize>, Scalar> = HashMap::new();
            for point in &all {
                let key = if instruction.full { point.clone() } else { kept_of(point) };
                let operand = |at: usize| {
                    let key = if fused.body[at].full { point.clone() } else { kept_of(point) };
                    assert!(
                        instruction.full
                            || !fused.body[at].full
                            || matches!(instruction.operation, Operation::Reduce(..))
                    );
                    (values[at][&key], fused.body[at].dtype)
                };
                let dtype = instruction.dtype;
                let pointwise =
                    |op, operands: &[(Scalar, DType)]| pointwise_constant(op, operands, dtype).unwrap();
                let result = match &instruction.operation {
                    Operation::Load(load) => self.get(&fused.loads[*load], &key),
                    Operation::Accumulator => product.unwrap()(point).cast(accumulator(dtype).unwrap()),
                    Operation::Literal(scalar) => *scalar,
                    Operation::Index(position) => Scalar::Int(point[*position] as i64),
                    Operation::Unary(function, a) => pointwise(Pointwise::Unary(*function), &[operand(*a)]),
                    Operation::Binary(function, a, b) => {
                        pointwise(Pointwise::Binary(*function), &[operand(*a), operand(*b)])
                    }
                    Operation::Select(a, b, c) => {
                        pointwise(Pointwise::Select, &[operand(*a), operand(*b), operand(*c)])
                    }
                    Operation::Cast(a) => pointwise(Pointwise::Cast(dtype), &[operand(*a)]),
                    Operation::Reduce(function, a) => {
                        assert!(fused.body[*a].full && !instruction.full);
                        let next = operand(*a).0;
                        match value.get(&key) {
                            None => next,
                            Some(&so_far) => fold(*function, so_far, next, dtype),
                        }
                    }
                };
                value.insert(key, result);
            }
            values.push(value);
        }
        for store in &fused.stores {
            for point in &all {
                let key = if fused.body[store.value].full { point.clone() } else { kept_of(point) };
                let value = values[store.value][&key];
                self.put(&store.view, &key, value);
            }
        }
    }

    fn matmul(&mut self, matmul: &Matmul) {
        let Matmul { batch, m, n, k, .. } = *matmul;
        let a = self.gather(&matmul.a, &[batch, m, k]);
        let b = self.gather(&matmul.b, &[batch, k, n]);
        let product =
            self.apply(Op::Matmul, vec![(vec![batch, m, k], a), (vec![batch, k, n], b)], vec![batch, m, n]);
        self.tail(&matmul.tail, batch * m, n, &product);
    }

    fn tail(&mut self, tail: &Fused, rows: usize, columns: usize, product: &Data) {
        let loops = &tail.loops;
        assert_eq!(loops.last(), Some(&columns), "the last loop is the columns");
        assert_eq!(loops[..loops.len() - 1].iter().product::<usize>(), rows, "the loops before are the rows");
        let strides = Shape::from(loops.as_slice()).strides();
        let read = |point: &[usize]| {
            let at: isize = point.iter().zip(&strides).map(|(&i, &s)| i as isize * s).sum();
            product.get(at as usize).unwrap()
        };
        self.fused(tail, Some(&read));
    }

    fn conv(&mut self, conv: &Conv) {
        let n = conv.batch;
        let image = [vec![n, conv.in_channels], conv.input.to_vec()].concat();
        let weight = [vec![conv.out_channels, conv.in_channels / conv.groups], conv.window.to_vec()].concat();
        let result = [vec![n, conv.out_channels], conv.output.to_vec()].concat();
        let pad = (0..3)
            .map(|axis| {
                let extent = (conv.window[axis] - 1) * conv.dilation[axis] + 1;
                let needed = (conv.output[axis] - 1) * conv.stride[axis] + extent;
                // What is left over at the end when the stride doesn't divide is cut off by the shape of the result.
                (conv.pad[axis], needed.saturating_sub(conv.input[axis] + conv.pad[axis]))
            })
            .collect();
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
        let a = self.gather(&conv.a, &first);
        let b = self.gather(&conv.b, &second);
        let value = self.apply(op, vec![(first, a), (second, b)], out.clone());
        // Rows and columns as the kernels lay them.
        let (order, columns): (Vec<usize>, usize) = match conv.kind {
            ConvKind::Forward | ConvKind::GradInput => (vec![0, 2, 3, 4, 1], out[1]),
            ConvKind::GradWeight => (vec![2, 3, 4, 1, 0], out[0]),
        };
        let strides = Shape::from(out.as_slice()).strides();
        let sizes: Vec<usize> = order.iter().map(|&axis| out[axis]).collect();
        let picked: Vec<Scalar> = points(&sizes)
            .iter()
            .map(|point| {
                let at: isize = point.iter().zip(&order).map(|(&i, &axis)| i as isize * strides[axis]).sum();
                value.get(at as usize).unwrap()
            })
            .collect();
        let product = each_dtype!(value.dtype(), T => <T as kiln_ir::Element>::wrap(picked.into_iter().map(<T as kiln_ir::Element>::from_scalar).collect()));
        self.tail(&conv.tail, product.len() / columns, columns, &product);
    }

    fn window(&mut self, window: &Window) {
        let image = [vec![window.batch, window.channels], window.input.to_vec()].concat();
        let result = [vec![window.batch, window.channels], window.output.to_vec()].concat();
        let pad = (0..3)
            .map(|axis| {
                let extent = (window.window[axis] - 1) * window.dilation[axis] + 1;
                let needed = (window.output[axis] - 1) * window.stride[axis] + extent;
                (window.pad[axis], needed.saturating_sub(window.input[axis] + window.pad[axis]))
            })
            .collect();
        let spec = WindowSpec {
            window: window.window.to_vec(),
            stride: window.stride.to_vec(),
            pad,
            dilation: window.dilation.to_vec(),
        };
        let (op, shapes, out) = match window.kind {
            WindowKind::Pick => (Op::WindowPick(spec), vec![image.clone(), image], result),
            WindowKind::Spread => (Op::WindowSpread(spec), vec![image.clone(), result], image),
            WindowKind::Sum => (Op::WindowSum(spec), vec![image], result),
            WindowKind::SumGrad => (Op::WindowSumGrad(spec, window.input.to_vec()), vec![result], image),
        };
        let operands = window
            .operands
            .iter()
            .zip(shapes)
            .map(|(view, shape)| (shape.clone(), self.gather(view, &shape)))
            .collect();
        let value = self.apply(op, operands, out.clone());
        for (position, point) in points(&out).iter().enumerate() {
            self.put(&window.out, point, value.get(position).unwrap());
        }
    }

    fn scatter(&mut self, indexed: &Indexed, mode: ScatterMode) {
        for point in points(&indexed.loops) {
            let mut to = point.clone();
            to[indexed.axis] = self.get(&indexed.index, &point).as_i64() as usize;
            let mut value = self.get(&indexed.x, &point);
            if mode == ScatterMode::Add {
                let base = self.get(&indexed.out, &to);
                value = fold(ReduceOp::Sum, base, value, indexed.out.dtype);
            }
            self.put(&indexed.out, &to, value);
        }
    }

    fn along(&mut self, along: &Along, op: Op, folds: bool) {
        let x = self.gather(&along.x, &along.loops);
        let mut out = along.loops.clone();
        if folds {
            *out.last_mut().unwrap() = 1;
        }
        let value = self.apply(op, vec![(along.loops.clone(), x)], out.clone());
        for (position, point) in points(&out).iter().enumerate() {
            self.put(&along.out, point, value.get(position).unwrap());
        }
    }

    /// One operation through the graph's evaluator.
    fn apply(&self, op: Op, operands: Vec<(Vec<usize>, Data)>, out: Vec<usize>) -> Data {
        let mut graph = Graph::default();
        for (position, (shape, data)) in operands.iter().enumerate() {
            let shape = Shape::from(shape.as_slice());
            graph.inputs.push((shape.clone(), data.dtype()));
            graph.nodes.push(GraphNode {
                op: Op::Input(position),
                inputs: vec![],
                shape,
                dtype: data.dtype(),
                at: None,
            });
        }
        let dtype = match op {
            Op::ArgReduce(..) | Op::ArgSort { .. } => DType::I64,
            _ => operands.last().unwrap().1.dtype(),
        };
        let inputs = (0..operands.len()).collect();
        graph.nodes.push(GraphNode { op, inputs, shape: out.into(), dtype, at: None });
        graph.outputs.push(operands.len());
        let data: Vec<&Data> = operands.iter().map(|(_, data)| data).collect();
        evaluate(&graph, &data, &|_| unreachable!()).unwrap().outputs.remove(0)
    }
}

fn fold(function: ReduceOp, a: Scalar, b: Scalar, dtype: DType) -> Scalar {
    // Folds of floats are gathered in f64.
    let wide = if dtype.is_float() { DType::F64 } else { dtype };
    pointwise_constant(Pointwise::Binary(function.function()), &[(a, wide), (b, wide)], wide).unwrap()
}
