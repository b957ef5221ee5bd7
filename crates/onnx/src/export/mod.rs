//! Writing models as ONNX: a forward pass is traced, and what it computes is written with ONNX's operators, the largest that fit.

mod builder;
mod composites;
mod free;
mod operations;
mod recurrent;
mod save;
mod steps;
#[cfg(test)]
mod tests;
mod trace;
mod trees;

pub use builder::{Attribute, Builder, ML, Size, tensor};
pub use free::FreeAxis;
pub use save::{ExportedFile, NEWEST, OLDEST, Options};

use std::collections::HashMap;

use kiln_ir::{DType, Data, Expr, Op, Scalar};
use kiln_nn::module::named;
use kiln_nn::{Context, Layer, Tensor};

use crate::element::OnnxDType;
use crate::error::{Error, Result};
use free::Extent;
pub use steps::{StepsGraph, write_steps};
use trace::{Pair, Trace};

/// A value that a model takes: its name in the graph, its sizes, and its type.
#[derive(Clone, Debug)]
pub struct ModelInput {
    /// The name of an input of the graph, or of a value that is computed in it.
    pub name: String,
    /// Its sizes; a free one is that of a [`FreeAxis`].
    pub sizes: Vec<Size>,
    /// Its type.
    pub dtype: DType,
}

/// A value that came out.
#[derive(Clone, Debug)]
pub struct ModelOutput {
    /// Its name in the graph.
    pub name: String,
    /// Its sizes.
    pub sizes: Vec<Size>,
    /// Its type.
    pub dtype: DType,
}

/// Writes what layers compute in use, from one value. With `fold`, norms over the batch become part of the convolutions before them.
///
/// # Errors
/// Where something has no form in ONNX, with the line it was made in.
pub fn write_layers(
    builder: &mut Builder,
    layers: &dyn Layer,
    input: &ModelInput,
    fold: bool,
) -> Result<ModelOutput> {
    let forward = |x: &[Tensor]| named(layers, || vec![layers.forward(&x[0], &Context::inference())]);
    let mut outputs = write(builder, &forward, std::slice::from_ref(input), fold)?;
    outputs.pop().ok_or_else(|| Error::network("the layers give no value"))
}

/// Writes what a function of tensors computes.
///
/// # Errors
/// As [`write_layers`].
pub fn write(
    builder: &mut Builder,
    f: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
    inputs: &[ModelInput],
    fold: bool,
) -> Result<Vec<ModelOutput>> {
    let declared: Vec<_> = inputs.iter().map(|input| (input.sizes.as_slice(), input.dtype)).collect();
    let trace = Trace::new(f, &declared, builder.opset())?;
    let names = inputs.iter().map(|input| input.name.clone()).collect();
    let mut writer = GraphWriter {
        trace: &trace,
        builder,
        names,
        fold,
        written: HashMap::new(),
        variables: HashMap::new(),
        free_sizes: Vec::new(),
        recurrent_results: HashMap::new(),
    };
    for pair in trace.order() {
        if !writer.is_written_on_demand(&pair) {
            writer.value(&pair)?;
        }
    }
    let outputs = trace.outputs.iter().map(|pair| {
        let name = writer.value(pair)?;
        Ok(ModelOutput { name, sizes: trace.free.sizes(&pair.extents()), dtype: pair.a.dtype })
    });
    let outputs = outputs.collect();
    builder.layer.clear();
    outputs
}

/// The name of the batch's axis.
pub const BATCH: &str = "batch";

/// Writes the values of a trace.
struct GraphWriter<'a> {
    trace: &'a Trace,
    builder: &'a mut Builder,
    /// The inputs' names.
    names: Vec<String>,
    fold: bool,
    /// The names of what is written, by number in the first trace.
    written: HashMap<u64, String>,
    /// The names of variables that are written: where they are and the order of their axes.
    variables: HashMap<(usize, Vec<usize>), String>,
    /// The names of free sizes that are written.
    free_sizes: Vec<(FreeAxis, String)>,
    /// The results of recurrent cells, by the sequence, the weight and the direction.
    recurrent_results: HashMap<(u64, u64, bool), Vec<String>>,
}

impl GraphWriter<'_> {
    /// Whether a value is written only where a node needs it as it is: constants, what broadcasting does by itself, and movements,
    /// of which several become one.
    fn is_written_on_demand(&self, pair: &Pair) -> bool {
        self.trace.is_constant(pair)
            || matches!(pair.a.op, Op::Expand | Op::Fill(_) | Op::Input(_))
            || self.is_plain(pair) && matches!(pair.a.op, Op::Permute(_) | Op::Reshape)
    }

    /// Whether a value is written by the operation that makes it.
    fn is_plain(&self, pair: &Pair) -> bool {
        !self.trace.is_constant(pair) && self.trace.composite(pair).is_none()
    }

    /// The name of a value, written now if it isn't yet.
    fn value(&mut self, pair: &Pair) -> Result<String> {
        if let Some(name) = self.written.get(&pair.a.id) {
            return Ok(name.clone());
        }
        let trace = self.trace;
        let own = trace.layer(pair).replace('.', "/");
        let around = std::mem::replace(&mut self.builder.layer, own);
        let name = if trace.is_constant(pair) {
            self.constant(pair)?
        } else if let Some((composite, inputs)) = trace.composite(pair) {
            self.composite(composite, &inputs, pair)?
        } else {
            self.operation(pair)?
        };
        self.builder.layer = around;
        self.written.insert(pair.a.id, name.clone());
        Ok(name)
    }

    fn values(&mut self, pairs: &[Pair]) -> Result<Vec<String>> {
        pairs.iter().map(|pair| self.value(pair)).collect()
    }

    /// A value whose numbers are known now.
    fn constant(&mut self, pair: &Pair) -> Result<String> {
        let node = &pair.a;
        let (variable, order) = if let Op::Var(variable) = &node.op {
            (Some(variable), (0..node.shape.rank()).collect())
        } else if let (Op::Permute(order), Some(Op::Var(variable))) =
            (&node.op, node.inputs.first().map(|input| &input.op))
        {
            (Some(variable), order.clone())
        } else {
            (None, Vec::new())
        };
        let data = self.numbers(pair)?;
        let Some(variable) = variable else {
            let other = Tensor::from(Expr::from(pair.b.clone())).to_data()?;
            if other != data {
                return match (data.get(0), other.get(0), data.len()) {
                    (Some(a), Some(b), 1) => self.by_size(pair, a.as_f64(), b.as_f64()),
                    _ => Err(self.refusal(pair, "numbers that depend on the size of the batch")),
                };
            }
            if node.shape.rank() == 0 {
                return Ok(self.builder.scalar(&data));
            }
            return Ok(self.builder.weight("constant", &node.shape, &data));
        };
        let key = (variable.address(), order);
        if let Some(name) = self.variables.get(&key) {
            return Ok(name.clone());
        }
        let name = variable.0.name();
        let name = if name.is_empty() { "weight".to_string() } else { name };
        let written = self.builder.weight(&name, &node.shape, &data);
        self.variables.insert(key, written.clone());
        Ok(written)
    }

    /// The numbers of a value that is constant.
    fn numbers(&self, pair: &Pair) -> Result<Data> {
        Ok(Tensor::from(Expr::from(pair.a.clone())).to_data()?)
    }

    /// The operands of an operation that broadcasts: without the broadcasting that ONNX does by itself.
    fn operands(&mut self, pair: &Pair) -> Result<Vec<String>> {
        let inputs = pair.inputs();
        let bare: Vec<Pair> = inputs.iter().map(narrowest).collect();
        let mut names = bare.iter().map(|pair| self.operand(pair)).collect::<Result<Vec<_>>>()?;
        if joint(&bare) != Some(pair.extents()) {
            names[0] = self.value(&inputs[0])?;
            if joint(&[std::slice::from_ref(&inputs[0]), &bare[1..]].concat()) != Some(pair.extents()) {
                names = self.values(&inputs)?;
            }
        }
        Ok(names)
    }

    /// A value, or the one number that it is everywhere.
    fn operand(&mut self, pair: &Pair) -> Result<String> {
        if let Op::Fill(number) = &pair.a.op { self.filling(pair, *number) } else { self.value(pair) }
    }

    /// The one number of a fill, which a free size may decide.
    fn filling(&mut self, pair: &Pair, number: Scalar) -> Result<String> {
        if let Op::Fill(other) = &pair.b.op
            && *other != number
        {
            return self.by_size(pair, number.as_f64(), other.as_f64());
        }
        Ok(self.builder.scalar(&Data::filled(pair.a.dtype, 1, number)))
    }

    /// A vector of these sizes, computed where they depend on the batch.
    fn sizes(&mut self, extents: &[Extent]) -> Result<String> {
        if extents.iter().all(|extent| extent.is_fixed()) {
            return Ok(self.builder.ints(&extents.iter().map(|extent| extent.0 as i64).collect::<Vec<_>>()));
        }
        let mut parts = Vec::new();
        let mut fixed: Vec<i64> = Vec::new();
        for extent in extents {
            if extent.is_fixed() {
                fixed.push(extent.0 as i64);
                continue;
            }
            let Some((axis, factor, rest)) = self.trace.free.by_axis(*extent) else {
                return Err(Error::network(format!(
                    "a size is {} in one trace and {} in another, which isn't in proportion to one free axis; ONNX can't say that",
                    extent.0, extent.1,
                )));
            };
            if !fixed.is_empty() {
                parts.push(self.builder.ints(&std::mem::take(&mut fixed)));
            }
            let mut size = self.size_of(axis)?;
            for (operator, number, neutral) in [("Mul", factor, 1), ("Add", rest, 0)] {
                if number != neutral {
                    let number = self.builder.ints(&[number]);
                    size = self.builder.node(operator, &[&size, &number], Vec::new());
                }
            }
            parts.push(size);
        }
        if !fixed.is_empty() {
            parts.push(self.builder.ints(&fixed));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [one] => Ok(one.to_string()),
            _ => Ok(self.builder.node("Concat", &parts, vec![("axis", Attribute::Int(0))])),
        }
    }

    /// A number that grows with a free size, or shrinks with it, as a mean's divisor.
    fn by_size(&mut self, pair: &Pair, a: f64, b: f64) -> Result<String> {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs();
        let found = self.trace.free.known().find_map(|axis| {
            let [x, y] = axis.traced().map(|size| size as f64);
            match () {
                () if near(a / x, b / y) => Some((axis, "Mul", a / x)),
                () if near(a * x, b * y) => Some((axis, "Div", a * x)),
                () => None,
            }
        });
        let Some((axis, operator, factor)) = found else {
            return Err(self.refusal(
                pair,
                "a number that depends on the size of the batch otherwise than in proportion",
            ));
        };
        let size = self.size_of(axis)?;
        let size = self.cast(&size, pair.a.dtype);
        let factor = self.number(factor, pair.a.dtype);
        Ok(self.builder.node(operator, &[&factor, &size], Vec::new()))
    }

    /// A free size, as a vector of one number.
    fn size_of(&mut self, axis: FreeAxis) -> Result<String> {
        if let Some((_, name)) = self.free_sizes.iter().find(|(known, _)| *known == axis) {
            return Ok(name.clone());
        }
        let around = std::mem::take(&mut self.builder.layer);
        let name = match (axis, self.trace.free.place(axis)) {
            (_, Some((input, place))) => {
                let shape = self.builder.node("Shape", &[&self.names[input].clone()], Vec::new());
                let place = self.builder.ints(&[place as i64]);
                self.builder.node("Gather", &[&shape, &place], vec![("axis", Attribute::Int(0))])
            }
            (FreeAxis::Total, None) => {
                let (past, steps) = (self.size_of(FreeAxis::Past)?, self.size_of(FreeAxis::Steps)?);
                self.builder.node("Add", &[&past, &steps], Vec::new())
            }
            (FreeAxis::Batch | FreeAxis::Steps | FreeAxis::Past, None) => {
                return Err(Error::network(format!("no input has the axis {}", axis.name())));
            }
        };
        self.builder.layer = around;
        self.free_sizes.push((axis, name.clone()));
        Ok(name)
    }

    fn cast(&mut self, value: &str, to: DType) -> String {
        let to = OnnxDType::from_dtype(to).number();
        self.builder.node("Cast", &[value], vec![("to", Attribute::Int(to.into()))])
    }

    fn number(&mut self, value: f64, dtype: DType) -> String {
        self.builder.scalar(&Data::filled(dtype, 1, value.into()))
    }
}

/// Whether a reshape only puts axes of size one in front, which broadcasting does by itself.
fn widens(pair: &Pair) -> bool {
    let in_front = |to: &[usize], from: &[usize]| {
        to.len() > from.len()
            && to[to.len() - from.len()..] == *from
            && to[..to.len() - from.len()].iter().all(|size| *size == 1)
    };
    matches!(pair.a.op, Op::Reshape)
        && in_front(&pair.a.shape, &pair.a.inputs[0].shape)
        && in_front(&pair.b.shape, &pair.b.inputs[0].shape)
}

/// A value before it was broadcast.
fn narrowest(pair: &Pair) -> Pair {
    let mut pair = pair.clone();
    while matches!(pair.a.op, Op::Expand) || widens(&pair) {
        pair = pair.input(0);
    }
    pair
}

/// The sizes that some values broadcast to; a fill counts as a scalar.
fn joint(pairs: &[Pair]) -> Option<Vec<Extent>> {
    let mut all: Vec<Extent> = Vec::new();
    for pair in pairs.iter().filter(|pair| !matches!(pair.a.op, Op::Fill(_))) {
        let own = pair.extents();
        while all.len() < own.len() {
            all.insert(0, Extent(1, 1));
        }
        let offset = all.len() - own.len();
        for (axis, size) in own.into_iter().enumerate() {
            let known = &mut all[offset + axis];
            match (*known, size) {
                (Extent(1, 1), size) => *known = size,
                (known, size) if known == size || size == Extent(1, 1) => {}
                _ => return None,
            }
        }
    }
    Some(all)
}
