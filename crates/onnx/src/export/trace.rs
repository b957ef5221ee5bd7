//! What a forward pass computes, as nodes to write. It is traced with two sizes of the batch: what differs between the traces depends
//! on the batch, and how.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_ir::expr::attention::expanded;
use kiln_ir::expr::unrolled;
use kiln_ir::node::{Node, topological};
use kiln_ir::{DType, Expr, Op, Shape, line};
use kiln_nn::Tensor;
use kiln_nn::composite::{Composite, Noted, Notes, record};

use super::Size;
use super::free::{Extent, FreeAxes, FreeAxis};
use crate::error::{Error, Result};

/// A node in both traces.
#[derive(Clone)]
pub(super) struct Pair {
    pub a: Arc<Node>,
    pub b: Arc<Node>,
}

impl Pair {
    pub fn extents(&self) -> Vec<Extent> {
        self.a.shape.iter().zip(self.b.shape.iter()).map(|(a, b)| Extent(*a, *b)).collect()
    }

    pub fn input(&self, position: usize) -> Pair {
        Pair { a: self.a.inputs[position].clone(), b: self.b.inputs[position].clone() }
    }

    pub fn inputs(&self) -> Vec<Pair> {
        (0..self.a.inputs.len()).map(|position| self.input(position)).collect()
    }
}

/// A forward pass, traced.
pub(super) struct Trace {
    pub outputs: Vec<Pair>,
    notes: [Notes; 2],
    /// Nodes that depend on an input, in the first trace.
    live: HashSet<u64>,
    /// How many nodes use a node, in the first trace.
    users: HashMap<u64, usize>,
    /// The sizes that inputs leave free.
    pub free: FreeAxes,
    opset: i64,
}

impl Trace {
    /// Traces `f` for inputs of these sizes and types.
    pub fn new(
        f: &dyn Fn(&[Tensor]) -> Vec<Tensor>,
        inputs: &[(&[Size], DType)],
        opset: i64,
    ) -> Result<Trace> {
        let free = FreeAxes::of(&inputs.iter().map(|(sizes, _)| *sizes).collect::<Vec<_>>());
        let once = |which: usize| {
            let declared = inputs.iter().enumerate().map(|(position, (sizes, dtype))| {
                let shape = sizes.iter().map(|size| traced(size, which)).collect::<Result<Vec<_>>>()?;
                Ok(Tensor::from(Expr::input(position, Shape::from(shape.as_slice()), *dtype)))
            });
            let declared: Vec<Tensor> = declared.collect::<Result<_>>()?;
            let (outputs, notes) = record(|| f(&declared));
            let node = |tensor: &Tensor| match tensor.expr().node() {
                Ok(node) => Ok(node.clone()),
                Err(error) => Err(Error::Compute(error.as_ref().clone())),
            };
            Ok::<_, Error>((outputs.iter().map(node).collect::<Result<Vec<_>>>()?, notes))
        };
        let (a, first) = once(0)?;
        let (b, second) = once(1)?;
        let outputs = a.into_iter().zip(b).map(|(a, b)| Pair { a, b }).collect();
        let (live, users) = (HashSet::new(), HashMap::new());
        let mut trace = Trace { outputs, notes: [first, second], live, users, free, opset };
        trace.look();
        trace.write_out()?;
        Ok(trace)
    }

    /// Notes which nodes depend on an input, and how many use each.
    fn look(&mut self) {
        (self.live, self.users) = (HashSet::new(), HashMap::new());
        let roots: Vec<Arc<Node>> = self.outputs.iter().map(|pair| pair.a.clone()).collect();
        for node in topological(&roots) {
            let follows = node.inputs.iter().any(|input| self.live.contains(&input.id));
            if matches!(node.op, Op::Input(_)) || follows {
                self.live.insert(node.id);
            }
            node.inputs.iter().for_each(|input| *self.users.entry(input.id).or_insert(0) += 1);
        }
    }

    /// Scans that no operator stands for become the operations of their steps, attention that of its scores and weights.
    fn write_out(&mut self) -> Result<()> {
        loop {
            let bare: Vec<Pair> = self.order().into_iter().filter(|pair| self.is_bare(pair)).collect();
            if bare.is_empty() {
                return Ok(());
            }
            let sides: [fn(&Pair) -> &Arc<Node>; 2] = [|pair| &pair.a, |pair| &pair.b];
            let mut sided = Vec::new();
            for (side, notes) in sides.into_iter().zip(&mut self.notes) {
                let roots: Vec<Arc<Node>> = self.outputs.iter().map(|pair| side(pair).clone()).collect();
                let bare: HashSet<u64> = bare.iter().map(|pair| side(pair).id).collect();
                let now = without(&roots, &bare);
                notes.follow(&now);
                let node = |root: &Arc<Node>| match now.get(&root.id).map(Expr::node) {
                    Some(Err(error)) => Err(Error::Compute(error.as_ref().clone())),
                    Some(Ok(node)) => Ok(node.clone()),
                    None => Ok(root.clone()),
                };
                sided.push(roots.iter().map(node).collect::<Result<Vec<_>>>()?);
            }
            let (b, a) = (sided.pop().unwrap_or_default(), sided.pop().unwrap_or_default());
            self.outputs = a.into_iter().zip(b).map(|(a, b)| Pair { a, b }).collect();
            self.look();
        }
    }

    fn is_bare(&self, pair: &Pair) -> bool {
        matches!(pair.a.op, Op::Scan(..) | Op::Attention(..))
            && !self.is_constant(pair)
            && self.composite(pair).is_none()
    }

    /// Whether nothing of an input is in the value, so that its numbers are known now.
    pub fn is_constant(&self, pair: &Pair) -> bool {
        !self.live.contains(&pair.a.id) && pair.a.shape == pair.b.shape
    }

    /// Whether one node alone uses the value.
    pub fn is_used_once(&self, pair: &Pair) -> bool {
        self.users.get(&pair.a.id) == Some(&1)
    }

    /// The path of the layer a node was built in.
    pub fn layer(&self, pair: &Pair) -> &str {
        self.notes[0].layer(pair.a.id).unwrap_or("")
    }

    /// What a value is composed as, and of which values, where this version of the operators has a word for it.
    pub fn composite(&self, pair: &Pair) -> Option<(&Composite, Vec<Pair>)> {
        let (Noted { composite, inputs: a }, b) =
            (self.notes[0].of(pair.a.id)?, self.notes[1].of(pair.b.id)?);
        let both = |(a, b): (&Tensor, &Tensor)| {
            Some(Pair { a: a.expr().node().ok()?.clone(), b: b.expr().node().ok()?.clone() })
        };
        let inputs: Vec<Pair> = a.iter().zip(&b.inputs).map(both).collect::<Option<_>>()?;
        let x = inputs.first()?;
        let known = match composite {
            Composite::Dense => x.a.shape.rank() == 2 && x.a.dtype == inputs[1].a.dtype,
            Composite::Biased => {
                matches!(x.a.op, Op::Conv(_) | Op::ConvGradInput(..)) && self.is_used_once(x)
            }
            Composite::Gelu(_) => self.opset >= 20,
            Composite::Mish => self.opset >= 18,
            Composite::HardSwish => self.opset >= 14,
            Composite::LayerNorm(..) => self.opset >= 17,
            Composite::RmsNorm(..) => self.opset >= 23,
            Composite::GroupNorm(..) => self.opset >= 21,
            Composite::AveragePool(spec, ..) => self.opset >= 19 || spec.dilation.iter().all(|by| *by == 1),
            Composite::Resize(sizes, _) => {
                sizes.len() + 2 == x.a.shape.rank() && x.extents()[1..].iter().all(|size| size.is_fixed())
            }
            Composite::GlobalAverage | Composite::GlobalMax => x.a.shape.rank() > 2,
            // The weights are put in ONNX's order now.
            Composite::Recurrent(how) => {
                let weights = if how.biased { 5 } else { 3 };
                x.a.dtype == DType::F32 && inputs[1..weights].iter().all(|pair| self.is_constant(pair))
            }
            // Nodes and leaves are attributes.
            Composite::Trees => inputs[1..].iter().all(|pair| self.is_constant(pair)),
            _ => true,
        };
        known.then_some((composite, inputs))
    }

    /// The values a value is written from.
    fn parts(&self, pair: &Pair) -> Vec<Pair> {
        if self.is_constant(pair) {
            return Vec::new();
        }
        match self.composite(pair) {
            Some((Composite::Biased, inputs)) => {
                inputs[0].inputs().into_iter().chain([inputs[1].clone()]).collect()
            }
            Some((_, inputs)) => inputs,
            None => pair.inputs(),
        }
    }

    /// All values that have to be written, each before those written from it.
    pub fn order(&self) -> Vec<Pair> {
        let mut seen = HashSet::new();
        let mut stack = self.outputs.clone();
        let mut order = Vec::new();
        while let Some(pair) = stack.pop() {
            if seen.insert(pair.a.id) {
                stack.extend(self.parts(&pair));
                order.push(pair);
            }
        }
        order.sort_unstable_by_key(|pair| pair.a.id);
        order
    }
}

/// A size in one of the two traces.
fn traced(size: &Size, which: usize) -> Result<usize> {
    match size {
        Size::Fixed(size) => Ok(*size),
        Size::Named(_) | Size::Free => match FreeAxis::of(size) {
            Some(axis) => Ok(axis.traced()[which]),
            None => Err(Error::network(format!("an input's size is {size:?}, which can't be traced"))),
        },
    }
}

/// What becomes of the nodes that follow from these scans and attentions when they are written out.
fn without(roots: &[Arc<Node>], bare: &HashSet<u64>) -> HashMap<u64, Expr> {
    let mut now: HashMap<u64, Expr> = HashMap::new();
    for node in topological(roots) {
        let changed = node.inputs.iter().any(|input| now.contains_key(&input.id));
        if !changed && !bare.contains(&node.id) {
            continue;
        }
        let value = |input: &Arc<Node>| now.get(&input.id).cloned().unwrap_or_else(|| input.clone().into());
        let operands: Vec<Expr> = node.inputs.iter().map(value).collect();
        let written = line::on_behalf_of(node.at, || {
            if bare.contains(&node.id) {
                if let Op::Scan(scan, result) = &node.op {
                    return unrolled(scan, &operands, *result);
                }
                if let Op::Attention(spec, value) = &node.op {
                    return expanded(spec, *value, &operands);
                }
            }
            let operands: Vec<&Expr> = operands.iter().collect();
            Expr::apply(node.op.clone(), &operands, Some((&node.shape, node.dtype)))
        });
        now.insert(node.id, written);
    }
    now
}
