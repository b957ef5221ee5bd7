//! Fine-tuning with a frozen front: what it makes of a row is the same in every epoch, so it is computed once, and steps begin behind it.

use std::collections::HashSet;

use kiln_ir::frontier::{Frontier, frontier, reads, replaced};
use kiln_ir::node::topological;
use kiln_ir::op::{Shared, VariableHandle};
use kiln_ir::{DType, Error, ErrorKind, Expr, Op, Result, Shape};

use crate::layers::Layer;
use crate::module::{Context, Module, Visitor, named};
use crate::random::Key;
use crate::tensor::Tensor;

/// A model from its features on: the layer whose inputs are what the frozen front of a model makes of a row. Its parameters and states are the
/// model's, and it computes what the model does, bit for bit, from the same draws.
///
/// ```
/// use kiln_nn::{Context, DType, Layer, Module, Rest, Sequential, Tensor};
///
/// let model: Sequential = "dense 8, relu, dropout 0.5, dense 2".parse()?;
/// let x = Tensor::from([[0.5f32, -1.0, 2.0]]);
/// let whole = model.forward(&x, &Context::inference()).to_vec::<f32>()?;
/// assert!(Rest::of(&model, [3], DType::F32)?.is_none(), "all of it is trained");
///
/// model.freeze("0.*")?;
/// let rest = Rest::of(&model, [3], DType::F32)?.unwrap();
/// let features = rest.features(&x);
/// assert_eq!(features.shape().sizes(), [1, 8], "up to the dropout, which differs from step to step");
/// assert_eq!(rest.forward(&features, &Context::inference()).to_vec::<f32>()?, whole);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Rest<'m, L: ?Sized> {
    model: &'m L,
    /// An input of one row.
    row: Shape,
    dtype: DType,
    cut: Frontier,
    /// Of each value at the cut: its shape in one row.
    places: Vec<Shape>,
}

/// So many rows that no other axis is a multiple of them.
const ROWS: usize = 1009;

/// The arguments that stand for the model's input and for the randomness of a step while it is cut. Nobody declares so many.
const INPUT: usize = usize::MAX;
const DRAWN: usize = usize::MAX - 1;

impl<'m, L: Layer + ?Sized> Rest<'m, L> {
    /// The rest of a model that takes rows of this shape and type; nothing where nothing is the same each time, or what is isn't of single rows in
    /// `f32`.
    ///
    /// # Errors
    /// Where the model doesn't take such rows.
    pub fn of(model: &'m L, row: impl Into<Shape>, dtype: DType) -> Result<Option<Rest<'m, L>>> {
        let (row, places) = (row.into(), Vec::new());
        let traced = TracedPass::new(model, &input(&row, dtype, ROWS))?;
        // A pass that doesn't train goes on from the same values.
        let other = model.forward(&input(&row, dtype, ROWS), &Context::inference());
        let cut = frontier(&traced.roots, &[other.0], (INPUT, ROWS), &|variable| traced.keeps(variable))?;
        let edge = traced.edge(&cut)?;
        let is_input = |value: &Expr| value.node().is_ok_and(|node| matches!(node.op, Op::Input(INPUT)));
        let is_of_rows =
            |value: &Expr| value.dtype() == DType::F32 && value.shape().sizes().first() == Some(&ROWS);
        if edge.is_empty() || edge.iter().any(is_input) || !edge.iter().all(is_of_rows) {
            return Ok(None);
        }
        let mut rest = Rest { model, row, dtype, cut, places };
        rest.places = edge.iter().map(|value| Shape::from(&value.shape().sizes()[1..])).collect();
        let features = Tensor::zeros([2, rest.width()]);
        Ok(rest.forward(&features, &Context::inference()).error().is_none().then_some(rest))
    }

    /// How many numbers the features of a row are.
    pub fn width(&self) -> usize {
        self.places.iter().map(Shape::elements).sum()
    }

    /// What the front makes of rows: `[rows, width]`.
    #[track_caller]
    pub fn features(&self, x: &Tensor) -> Tensor {
        let features = || {
            let edge = self.edge(x.size(0))?;
            let values = replaced(&edge, &[self.input(x.size(0)).0], std::slice::from_ref(x.expr()))?;
            let rows = x.size(0) as isize;
            let flat: Vec<Tensor> =
                values.into_iter().map(|value| Tensor(value).reshape([rows, -1])).collect();
            Ok(Tensor::concat(&flat.iter().collect::<Vec<_>>(), 1))
        };
        named(self.model, features).unwrap_or_else(|error: Error| Tensor::from(error))
    }

    fn input(&self, rows: usize) -> Tensor {
        input(&self.row, self.dtype, rows)
    }

    /// The values at the cut, of so many rows, as a step of training has them.
    fn edge(&self, rows: usize) -> Result<Vec<Expr>> {
        TracedPass::new(self.model, &self.input(rows))?.edge(&self.cut)
    }
}

/// What stands for rows of a model's input.
fn input(row: &Shape, dtype: DType, rows: usize) -> Tensor {
    let shape: Vec<usize> = std::iter::once(rows).chain(row.sizes().iter().copied()).collect();
    Tensor(Expr::input(INPUT, shape, dtype))
}

/// A pass of a training: all that comes out of it, and the variables that a step changes.
struct TracedPass {
    roots: Vec<Expr>,
    changed: HashSet<usize>,
}

impl TracedPass {
    fn new<L: Layer + ?Sized>(model: &L, x: &Tensor) -> Result<TracedPass> {
        let drawn = Tensor(Expr::input(DRAWN, Shape::scalar(), DType::I64));
        let context = Context::training(Key::from_tensor(&drawn));
        let mut roots = vec![model.forward(x, &context).0];
        roots.extend(context.members().map(|members| members.0));
        let updates = context.take_updates();
        let trained = model.parameters().into_iter().filter(|(_, param)| !param.is_frozen());
        let states = updates.iter().map(|(state, _)| state.tensor());
        let changed: Vec<Tensor> = trained.map(|(_, param)| param.tensor()).chain(states).collect();
        let changed = addresses(&changed)?;
        roots.extend(updates.into_iter().map(|(_, value)| value.0));
        Ok(TracedPass { roots, changed })
    }

    fn keeps(&self, variable: &Shared<dyn VariableHandle>) -> bool {
        !self.changed.contains(&variable.address())
    }

    fn edge(&self, cut: &Frontier) -> Result<Vec<Expr>> {
        cut.values(&self.roots, INPUT, &|variable| self.keeps(variable))
    }
}

/// The variables that tensors are computed from.
fn addresses(tensors: &[Tensor]) -> Result<HashSet<usize>> {
    let mut found = HashSet::new();
    for tensor in tensors {
        let node = tensor.expr().node().map_err(|error| error.as_ref().clone())?;
        for node in topological(std::slice::from_ref(node)) {
            if let Op::Var(variable) = &node.op {
                found.insert(variable.address());
            }
        }
    }
    Ok(found)
}

impl<L: Module + ?Sized> Module for Rest<'_, L> {
    fn visit(&self, visitor: &mut Visitor) {
        self.model.visit(visitor);
    }

    fn text(&self) -> Option<String> {
        self.model.text()
    }
}

impl<L: Layer + ?Sized> Layer for Rest<'_, L> {
    #[track_caller]
    fn forward(&self, features: &Tensor, context: &Context) -> Tensor {
        let rows = features.size(0);
        // Not within, so that it is on behalf of whoever asks.
        let output = self.model.forward(&self.input(rows), context);
        let rest = || {
            let edge = self.edge(rows)?;
            let mut at = 0;
            let taken = self.places.iter().map(|place| {
                let shape: Vec<isize> = std::iter::once(rows)
                    .chain(place.sizes().iter().copied())
                    .map(|size| size as isize)
                    .collect();
                let own = features.slice(1, at..at + place.elements()).reshape(shape);
                at += place.elements();
                own.0
            });
            let taken: Vec<Expr> = taken.collect();
            let (members, updates) = (context.members(), context.take_updates());
            let mut roots = vec![output.0];
            roots.extend(members.iter().map(|members| members.0.clone()));
            roots.extend(updates.iter().map(|(_, value)| value.0.clone()));
            let mut made = replaced(&roots, &edge, &taken)?;
            if reads(&made, INPUT)? {
                let message =
                    "a pass that doesn't train computes what is frozen otherwise than one that does";
                return Err(Error::new(ErrorKind::Value, "features", message));
            }
            let values = made.split_off(1 + usize::from(members.is_some()));
            for ((variable, _), value) in updates.iter().zip(values) {
                context.update(variable, Tensor(value));
            }
            if let Some(members) = made.get(1) {
                context.set_members(Some(Tensor(members.clone())));
            }
            Ok(made.swap_remove(0))
        };
        rest().map_or_else(Tensor::from, Tensor)
    }

    /// Those of the whole model.
    fn stages(&self, features: &Tensor) -> Vec<(String, String, Tensor)> {
        let shape: Vec<usize> =
            std::iter::once(features.size(0)).chain(self.row.sizes().iter().copied()).collect();
        self.model.stages(&Tensor::zeros(shape).cast(self.dtype))
    }
}
