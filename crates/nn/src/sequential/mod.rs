//! Models that are a row of layers. Sizes of inputs aren't given: each layer is made when the first tensor reaches it.
//!
//! What isn't a row is made of rows: [`Sequential::residual`] adds what goes in to what comes out, [`Sequential::parallel`]
//! sends it through several and joins the results, [`Sequential::blend`] averages what several models say. All of it but closures and layers of one's own has a text form.

mod alike;
mod blend;
mod builder;
mod calibration;
mod parts;
mod read;
mod table;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::sync::OnceLock;

use kiln_ir::{Error, ErrorKind, Result, Shape, line};

use crate::layers::{Dense, Lambda, Layer, convolution};
use crate::module::{Context, Lengths, Module, TimeAxis, Visitor, looks_ahead, refusal, unpadded};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::tensor::window::{PerAxis, SpatialRank};
pub use alike::alike;
use blend::Blend;
pub use blend::Blended;
pub use parts::PartView;
pub use table::{Spec, Takes, Word, listing, words};

/// A row of layers.
///
/// ```
/// use kiln_nn::{Layer, Module, Sequential};
///
/// let model = Sequential::new().conv2d(8, 3).relu().max_pool2d(2).flatten().dense(10);
/// model.build([1, 1, 28, 28])?;
/// assert_eq!(model.parameters()[2].1.shape().sizes(), [8 * 13 * 13, 10]);
/// assert_eq!(model.to_text()?, "conv2d 8 3, relu, max-pool2d 2, flatten, dense 10");
/// # Ok::<(), kiln_nn::Error>(())
/// ```
#[derive(Default)]
pub struct Sequential {
    parts: Vec<Part>,
    seed: u64,
}

/// A layer in its place.
struct Part {
    /// Its place in paths: the position, unless another name is given.
    name: Option<String>,
    kind: Kind,
}

enum Kind {
    /// A layer that is described, and made at first use.
    Described(Spec, OnceLock<Box<Made>>),
    /// What comes in, as it is or projected to the size of what comes out, is added to that.
    Residual(Sequential, OnceLock<Result<Option<Box<dyn Layer>>>>),
    /// Several ways from the same input.
    Parallel(Vec<Sequential>, Join),
    /// Several ways from the same input, and the weighted mean of their results.
    Blend(Blend),
    /// A closure.
    Lambda(Lambda),
    /// A layer of somebody's own.
    Own(Box<dyn Layer>),
}

/// A described layer that is made.
struct Made {
    /// What it became, with nothing left open.
    spec: Spec,
    layer: Box<dyn Layer>,
}

/// How the results of parallel rows become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Side by side: along the channels of images, along the last axis of other tensors.
    Concat,
    /// Added up.
    Sum,
}

impl Sequential {
    /// No layers yet.
    pub fn new() -> Sequential {
        Sequential::default()
    }

    /// The seed its parameters start from, 0 unless told otherwise. Has no effect on layers that are already made.
    pub fn seed(self, seed: u64) -> Sequential {
        Sequential { seed, ..self }
    }

    /// Makes all layers for an input of this shape, which happens by itself when the first tensor comes.
    ///
    /// # Errors
    /// Where a layer doesn't fit what reaches it.
    #[track_caller]
    pub fn build(&self, input: impl Into<Shape>) -> Result<Shape> {
        let y = self.forward(&Tensor::zeros(input), &Context::inference());
        match y.error() {
            Some(error) => Err(error.clone()),
            None => Ok(y.shape()),
        }
    }

    /// How many layers stand in the row.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The last layer that outputs come from: what only turns them (`transpose`) may stand behind it.
    fn last_mut(&mut self) -> Option<&mut Part> {
        let turns = |part: &&mut Part| matches!(part.kind, Kind::Described(Spec::Transpose, _));
        self.parts.iter_mut().rev().find(|part| !turns(part))
    }

    /// Gives the number of outputs to a last dense layer that was described without one (`dense` in a text).
    pub fn outputs(mut self, count: usize) -> Sequential {
        match self.last_mut().map(|part| &mut part.kind) {
            Some(Kind::Described(spec, _)) => {
                if let Some(outputs) = spec.scores() {
                    outputs.get_or_insert(count);
                }
            }
            Some(Kind::Blend(Blend { rows, .. })) => {
                *rows = std::mem::take(rows).into_iter().map(|row| row.outputs(count)).collect();
            }
            _ => {}
        }
        self
    }

    /// Puts a new dense layer with so many outputs in the place of the last layer, which must be one. The next tensor makes it, from the
    /// row's seed; the other layers stay as they are.
    ///
    /// # Errors
    /// Where the last layer isn't a dense one.
    pub fn new_head(mut self, count: usize) -> Result<Sequential> {
        if let Some(Part { kind: Kind::Described(spec, made), .. }) = self.last_mut()
            && let Some(outputs) = spec.scores()
        {
            (*outputs, *made) = (Some(count), OnceLock::new());
            return Ok(self);
        }
        let title = self.parts.last().map_or("nothing".to_string(), |part| part.kind.title());
        let message = format!("only a dense layer at the end can be replaced, and the last one is {title}");
        Err(Error::new(ErrorKind::Value, "new head", message).nowhere())
    }

    fn add(mut self, kind: Kind) -> Sequential {
        self.parts.push(Part { name: None, kind });
        self
    }

    /// The first layer whose weights would go by a name that another's have, or a residual row's own; nothing of two layers with one name could be
    /// told apart in a file.
    fn ambiguous_name(&self) -> Option<(usize, String)> {
        let mut seen = HashSet::new();
        for (position, part) in self.parts.iter().enumerate() {
            let path = part.path(position);
            if let Kind::Residual(body, _) = &part.kind
                && body.parts.iter().any(|part| part.name.as_deref() == Some(PROJECTION))
            {
                let message = format!(
                    "in a residual row {PROJECTION} is what brings its input to size; call the layer otherwise"
                );
                return Some((position, message));
            }
            if seen.contains(&path) {
                let message = format!("two layers are called {path}; weights go by these names");
                return Some((position, message));
            }
            seen.insert(path);
        }
        None
    }

    fn run(&self, x: &Tensor, context: &Context, key: &Key) -> Tensor {
        if let Some((_, message)) = self.ambiguous_name() {
            return Error::new(ErrorKind::Value, "layers", message).nowhere().into();
        }
        self.between(0..self.parts.len(), x, context, key)
    }
}

/// What weights of a residual row's own layer go by.
const PROJECTION: &str = "projection";

impl Part {
    fn path(&self, position: usize) -> String {
        self.name.clone().unwrap_or_else(|| position.to_string())
    }

    fn run(&self, x: &Tensor, context: &Context, key: &Key) -> Tensor {
        if x.error().is_some() {
            return x.clone();
        }
        let lengths = context.lengths().filter(|lengths| lengths.are_of(x));
        if lengths.is_none() {
            context.set_lengths(None);
        }
        match &self.kind {
            Kind::Described(spec, made) => match Made::of(spec, made, &x.shape(), key) {
                Ok(layer) => padded_pass(layer, x, context, lengths),
                Err(error) => error.into(),
            },
            Kind::Residual(body, projection) => {
                let y = body.run(x, context, &key.derive(0));
                check!(same_lengths(lengths.as_ref(), context.lengths().as_ref(), "a residual row"));
                match projection.get_or_init(|| project(x, &y, &key.derive(1))) {
                    Ok(None) => x + y,
                    Ok(Some(projection)) => projection.forward(x, context) + y,
                    Err(error) => error.clone().into(),
                }
            }
            Kind::Parallel(rows, join) => {
                let results = check!(beside(rows, x, context, key));
                match join {
                    Join::Sum => results.into_iter().reduce(|a, b| a + b).unwrap_or_else(|| x.clone()),
                    Join::Concat => {
                        let axis = if x.rank() > 2 { 1 } else { -1 };
                        Tensor::concat(&results.iter().collect::<Vec<_>>(), axis)
                    }
                }
            }
            Kind::Blend(blend) => blend.mean(&check!(beside(&blend.rows, x, context, key)), context),
            Kind::Lambda(lambda) if lengths.is_some() => {
                unpadded(format!("{} doesn't know where sequences end", lambda.name())).into()
            }
            Kind::Lambda(lambda) => lambda.forward(x, context),
            Kind::Own(layer) => padded_pass(&**layer, x, context, lengths),
        }
    }
}

/// What each of several rows makes of `x`.
#[track_caller]
fn beside(rows: &[Sequential], x: &Tensor, context: &Context, key: &Key) -> Result<Vec<Tensor>> {
    let lengths = context.lengths();
    let mut results = Vec::with_capacity(rows.len());
    let mut first: Option<Option<Lengths>> = None;
    for (position, row) in rows.iter().enumerate() {
        context.set_lengths(lengths.clone());
        results.push(row.run(x, context, &key.derive(position)));
        let own = context.lengths();
        let first = first.get_or_insert_with(|| own.clone());
        same_lengths(first.as_ref(), own.as_ref(), "a parallel row")?;
    }
    Ok(results)
}

/// What a layer makes of `x`; of sequences whose lengths differ only where it knows where they end.
#[track_caller]
fn padded_pass(layer: &dyn Layer, x: &Tensor, context: &Context, lengths: Option<Lengths>) -> Tensor {
    let Some(lengths) = lengths else { return layer.forward(x, context) };
    let behind = check!(layer.padded_axis(lengths.time()));
    let y = layer.forward(x, context);
    context.set_lengths(behind.map(|time| lengths.moved(time)));
    y
}

/// Refuses rows side by side whose steps lie elsewhere, or are no more.
#[track_caller]
fn same_lengths(first: Option<&Lengths>, second: Option<&Lengths>, what: &str) -> Result<()> {
    match first.map(Lengths::time) == second.map(Lengths::time) {
        true => Ok(()),
        false => Err(unpadded(format!("{what} has its steps elsewhere than what it is joined with"))),
    }
}

impl Made {
    /// The layer of a description, made where it isn't yet. What comes in must have the rank that it was made for.
    #[track_caller]
    fn of<'m>(spec: &Spec, made: &'m OnceLock<Box<Made>>, input: &Shape, key: &Key) -> Result<&'m dyn Layer> {
        if let Some(made) = made.get() {
            made.spec.ranked(input)?;
            return Ok(&*made.layer);
        }
        let (spec, layer) = spec.build(input, key)?;
        Ok(&*made.get_or_init(|| Box::new(Made { spec, layer })).layer)
    }
}

impl Kind {
    /// What it is, in a summary.
    fn title(&self) -> String {
        match self {
            Kind::Described(spec, made) => made.get().map_or(spec, |made| &made.spec).to_string(),
            Kind::Residual(body, _) => format!("residual of {}", body.len()),
            Kind::Parallel(rows, Join::Concat) => format!("parallel of {}", rows.len()),
            Kind::Parallel(rows, Join::Sum) => format!("sum of {}", rows.len()),
            Kind::Blend(blend) => format!("blend of {}", blend.rows.len()),
            Kind::Lambda(lambda) => lambda.name().to_string(),
            Kind::Own(_) => "layer".to_string(),
        }
    }
}

/// The layer that brings what goes into a residual row to the size of what comes out; none where they are equal.
#[track_caller]
fn project(x: &Tensor, y: &Tensor, key: &Key) -> Result<Option<Box<dyn Layer>>> {
    let (from, to) = (x.sound()?.shape(), y.sound()?.shape());
    if from == to {
        return Ok(None);
    }
    let unfit = || {
        let message = format!("{from} goes in and {to} comes out, and no projection brings one to the other");
        Err(Error::new(ErrorKind::Shape, "residual", message))
    };
    if from.rank() != to.rank() || from.rank() < 2 {
        return unfit();
    }
    if from.rank() == 2 {
        return Ok(Some(Box::new(Dense::new(from[1], to[1], key.clone()))));
    }
    let stride: Vec<usize> =
        from.iter().zip(to.iter()).skip(2).map(|(a, b)| a.div_ceil((*b).max(1)).max(1)).collect();
    let fits =
        from.iter().zip(to.iter()).skip(2).zip(&stride).all(|((a, b), stride)| a.div_ceil(*stride) == *b);
    if !fits {
        return unfit();
    }
    let options = ConvOptions::new().stride(stride);
    let Some(rank) = SpatialRank::of(&from) else { return unfit() };
    Ok(Some(convolution(rank, [from[1], to[1]], PerAxis::Same(1), options, false, key.clone())))
}

/// Whether a layer's name can stand in a text.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

impl Layer for Sequential {
    /// All that is built belongs to the caller's line.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || self.run(x, context, &Key::new(self.seed)))
    }

    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        let (context, key) = (Context::inference(), Key::new(self.seed));
        let mut x = x.clone();
        let mut stages = Vec::with_capacity(self.parts.len());
        for (position, part) in self.parts.iter().enumerate() {
            x = part.run(&x, &context, &key.derive(position));
            stages.push((part.path(position), part.kind.title(), x.clone()));
        }
        stages
    }

    #[track_caller]
    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        line::on_behalf_of(line::of(Location::caller()), || self.time_behind(time))
    }
}

impl Sequential {
    /// Where time lies behind all layers, all of which must be made.
    fn time_behind(&self, time: TimeAxis) -> Result<TimeAxis> {
        self.parts.iter().enumerate().try_fold(time, |time, (position, part)| {
            let unfit =
                |what: &str| refusal(format!("{what} has its steps elsewhere, and can't go on step by step"));
            let placed = |error: Error| Error {
                message: format!("layer {}: {}", part.path(position), error.message),
                ..error
            };
            match &part.kind {
                Kind::Described(spec, made) => match made.get() {
                    Some(made) => made.layer.time_axis(time),
                    None => Err(refusal(format!("{spec} isn't made yet; build the layers first"))),
                },
                Kind::Residual(body, projection) => {
                    let projected = match projection.get() {
                        Some(Ok(Some(projection))) => projection.time_axis(time)?,
                        _ => time,
                    };
                    body.time_behind(time)
                        .and_then(|own| if own == projected { Ok(own) } else { Err(unfit("a residual row")) })
                }
                Kind::Parallel(rows, join) => {
                    let mut all = rows.iter().map(|row| row.time_behind(time)).collect::<Result<Vec<_>>>()?;
                    let first = all.pop().unwrap_or(time);
                    let joined = if first.rank > 2 { 1 } else { first.rank.saturating_sub(1) };
                    match all.iter().all(|other| *other == first)
                        && (*join == Join::Sum || joined != first.axis)
                    {
                        true => Ok(first),
                        false => Err(unfit("a parallel row")),
                    }
                }
                Kind::Blend(Blend { rows, of, .. }) => {
                    let mut all = rows.iter().map(|row| row.time_behind(time)).collect::<Result<Vec<_>>>()?;
                    let first = all.pop().unwrap_or(time);
                    let is_free = *of == Blended::Numbers || first.axis != 1;
                    match is_free && all.iter().all(|other| *other == first) {
                        true => Ok(first),
                        false => Err(unfit("a blend")),
                    }
                }
                Kind::Lambda(lambda) => Err(looks_ahead(lambda.name())),
                Kind::Own(layer) => layer.time_axis(time),
            }
            .map_err(placed)
        })
    }
}

impl Module for Sequential {
    fn text(&self) -> Option<String> {
        self.to_text().ok()
    }

    /// The parameters of the layers that are made; see [`Sequential::build`].
    fn visit(&self, visitor: &mut Visitor) {
        for (position, part) in self.parts.iter().enumerate() {
            let name = part.path(position);
            match &part.kind {
                Kind::Described(_, made) => {
                    if let Some(made) = made.get() {
                        visitor.part(&name, &made.layer);
                    }
                }
                Kind::Residual(body, projection) => {
                    visitor.part(&name, body);
                    if let Some(Ok(Some(projection))) = projection.get() {
                        visitor.part(&format!("{name}.{PROJECTION}"), projection);
                    }
                }
                Kind::Parallel(rows, _) => visitor.part(&name, rows),
                Kind::Blend(Blend { rows, weights, .. }) => {
                    visitor.part(&name, rows);
                    if let Ok(weights) = weights {
                        visitor.state(&format!("{name}.weights"), weights);
                    }
                }
                Kind::Lambda(_) => {}
                Kind::Own(layer) => visitor.part(&name, layer),
            }
        }
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for part in &self.parts {
            list.entry(&format_args!("{}", part.kind.title()));
        }
        list.finish()
    }
}
