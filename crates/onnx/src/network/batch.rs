//! A network for any number of rows, though its file was written for one: sizes that a tracer fixed are made free, and what comes out is
//! compared with what the file computes as it is.

use std::collections::HashSet;
use std::ops::Range;

use kiln_map::Budget;
use kiln_nn::{Context, DType, Data, Tensor};

use super::order::names_taken;
use super::{Network, Scope, Weight};
use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::proto::{NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto};
use crate::read;
use crate::value::{Value, whole};

/// A batch of more numbers than this isn't tried.
const MOST_TRIED: usize = 1 << 27;

/// How far numbers may lie apart that were computed in batches of different sizes, in proportion to the largest.
const NEAR: f64 = 5e-3;

/// The attribute by which a size of 0 is none, and not that of what is put in.
const ZEROS: &str = "allowzero";

/// The rows that are tried.
struct Probe<'a> {
    row: &'a [usize],
    element: OnnxDType,
}

/// What came out for some of them.
struct Given {
    sizes: Vec<usize>,
    numbers: Vec<f64>,
}

impl Probe<'_> {
    /// Some rows, no two of them alike. Whole numbers may be codes, of which there are few: they are 0 and 1.
    fn some(&self, rows: Range<usize>) -> Tensor {
        let width: usize = self.row.iter().product();
        let places = rows.start * width..rows.end * width;
        let data = match self.element.is_float() {
            true => Data::F32(places.map(|at| libm::sinf(at as f32)).collect()),
            false => Data::I64(places.map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13 & 1) as i64).collect()),
        };
        Tensor::from_data(data, [&[rows.len()], self.row].concat())
    }

    /// What a network gives for them.
    fn given(&self, network: &Network, rows: Range<usize>) -> Result<Given> {
        let x = self.some(rows).cast(self.element.dtype().unwrap_or(DType::F32));
        let outputs = network.run(vec![Value::of(x)], &Context::inference())?;
        let Some(Value::Numbers(y, _)) = outputs.into_iter().next() else {
            return Err(Error::network("it gives no numbers"));
        };
        Ok(Given { sizes: y.shape().sizes().to_vec(), numbers: y.cast(DType::F64).to_vec()? })
    }
}

impl Given {
    /// Whether these are so many rows of these numbers.
    fn hold(&self, rows: usize, expected: &[f64]) -> Result<()> {
        if self.sizes.first() != Some(&rows) || self.numbers.len() != expected.len() {
            return Err(Error::network(format!("it gives {:?} for a batch of {rows}", self.sizes)));
        }
        let largest = expected.iter().fold(0.0f64, |largest, number| largest.max(number.abs()));
        // What isn't finite is far from nothing: only rows that were mixed are looked for.
        let is_far = |(a, b): (&f64, &f64)| (a - b).abs() > NEAR * largest;
        match self.numbers.iter().zip(expected).any(is_far) {
            true => Err(Error::network("what it gives for a row depends on the others")),
            false => Ok(()),
        }
    }
}

impl Network {
    /// Makes the batch of its single input free, where the file declares all sizes of that. Says why it can't be; the network is of no
    /// use then.
    ///
    /// # Errors
    /// Where it can't be computed for the batch that is declared either.
    pub fn free_batch(&mut self) -> Result<Option<String>> {
        let inputs = self.inputs();
        let [port] = inputs.as_slice() else { return Ok(None) };
        let sizes: Option<Vec<usize>> = port.sizes.iter().copied().collect();
        let (Some(sizes), Some(element)) = (sizes, port.element) else { return Ok(None) };
        let Some((&batch, row)) = sizes.split_first() else { return Ok(None) };
        let count = sizes.iter().try_fold(2usize, |count, &size| count.checked_mul(size.max(1)));
        if batch == 0 || count.is_none_or(|count| count > MOST_TRIED) {
            return Ok(Some(format!("a batch of {sizes:?} is empty or too large to be tried")));
        }
        let rows = Probe { row, element };
        let (first, second) = (rows.given(self, 0..batch)?, rows.given(self, batch..2 * batch)?);
        let expected = [first.numbers, second.numbers].concat();
        let one = expected.len() / (2 * batch);
        let fits = |network: &Network| -> Result<()> {
            rows.given(network, 0..2 * batch)?.hold(2 * batch, &expected)?;
            rows.given(network, 0..1)?.hold(1, &expected[..one])
        };
        if let Err(why) = fits(self) {
            self.free_shapes(batch as i64)?;
            if fits(self).is_err() {
                return Ok(Some(why.to_string()));
            }
        }
        self.declare_free();
        Ok(None)
    }

    /// Lets each `Reshape` of what follows from the input keep the first axis, where its constant names the batch:
    ///
    /// ```text
    /// Reshape(x [1, 4, 8, 8], [1, 256])  →  Reshape(x, [0, 256])
    /// ```
    fn free_shapes(&mut self, batch: i64) -> Result<()> {
        let mut freed = Vec::new();
        let mut follows: HashSet<&str> = self.graph().input.iter().map(ValueInfoProto::name).collect();
        for (at, node) in self.graph().node.iter().enumerate() {
            if !names_taken(node).any(|name| follows.contains(name.as_str())) {
                continue;
            }
            follows.extend(node.output.iter().map(String::as_str));
            if node.op_type() != "Reshape" {
                continue;
            }
            let sizes = node.input.get(1).and_then(|name| self.constant(name));
            if let Some((first, others)) = sizes.as_deref().and_then(<[i64]>::split_first)
                && *first == batch
                && !(keeps_zeros(node) && others.contains(&0))
            {
                freed.push((at, [&[0], others].concat()));
            }
        }
        let budget = Budget::default();
        for (at, sizes) in freed {
            let name = format!("any batch {at}");
            let message = TensorProto {
                name: Some(name.clone()),
                dims: vec![sizes.len() as i64],
                data_type: Some(OnnxDType::I64.number()),
                int64_data: sizes,
                ..TensorProto::default()
            };
            self.weights
                .insert(name.clone(), Weight::Constant(read::tensor(&message, self.origin(&budget))?));
            self.declared.push(message);
            let graph = self.model.graph.get_or_insert_default();
            graph.node[at].attribute.retain(|own| own.name() != ZEROS);
            graph.node[at].input[1] = name;
        }
        self.tidy();
        Ok(())
    }

    /// The whole numbers of a constant, be it a weight or a node.
    fn constant(&self, name: &str) -> Option<Vec<i64>> {
        let value = match self.weights.get(name) {
            Some(Weight::Constant(value)) => value.clone(),
            Some(_) => return None,
            None => {
                let is_maker = |node: &&NodeProto| node.output.iter().any(|output| output == name);
                let node = self.graph().node.iter().find(is_maker)?;
                let budget = Budget::default();
                let scope = Scope::new(&self.model.opset_import, &budget);
                let own =
                    (node.op_type() == "Constant").then(|| self.call(node, &scope, &Context::inference()));
                own?.ok()?.pop()?
            }
        };
        value.constant().map(|data| whole(&data))
    }

    /// Says of the input and of what comes out that the batch is free.
    fn declare_free(&mut self) {
        let graph = self.model.graph.get_or_insert_default();
        // What the file says of shapes on the way is of its own batch.
        graph.value_info.clear();
        for port in graph.input.iter_mut().chain(&mut graph.output) {
            let kind = port.r#type.as_mut().and_then(|kind| kind.value.as_mut());
            if let Some(type_proto::Value::TensorType(tensor)) = kind
                && let Some(first) = tensor.shape.as_mut().and_then(|shape| shape.dim.first_mut())
            {
                first.value = Some(dimension::Value::DimParam("batch".to_string()));
            }
        }
    }
}

/// Whether sizes of 0 are just that.
fn keeps_zeros(node: &NodeProto) -> bool {
    node.attribute.iter().any(|own| own.name() == ZEROS && own.i() != 0)
}
