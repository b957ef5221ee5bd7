//! The kinds of arguments that a layer of the table can have. Each is visited, in the order of the table, by whoever reads, writes, explains
//! or checks a layer: so that what is written is what is read.

use super::value::{ArgumentValue, Probability};
use crate::layers::{RecurrentOptions, TransformerOptions};
use crate::tensor::conv::ConvOptions;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::SpatialRank;

/// An argument's name and value.
pub(in crate::sequential) struct LayerArgument<'a> {
    pub name: &'static str,
    pub value: &'a mut dyn ArgumentValue,
    /// The text of its value where it isn't said.
    pub default: String,
    pub kind: ArgumentKind,
}

/// How an argument stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sequential) enum ArgumentKind {
    /// A value in its turn, which must be there.
    Required,
    /// A value in its turn, which may be left out.
    Optional,
    /// All values that are left, at least one.
    Rest,
    /// A value behind the argument's name.
    Named,
}

/// A mistake in a text: where in it, and what is wrong.
pub(in crate::sequential) struct Mistake {
    pub at: usize,
    pub message: String,
}

/// Whoever visits a layer's arguments.
pub(in crate::sequential) trait ArgumentVisitor {
    /// The rank, which is part of the word: `conv2d`. None: the input's.
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake>;

    /// A value.
    fn argument(&mut self, argument: LayerArgument) -> Result<(), Mistake>;

    /// A word that stands or doesn't.
    fn flag(&mut self, name: &'static str, on: &mut bool) -> Result<(), Mistake>;

    /// What earlier versions wrote and nothing came of: a name with a value behind it, or a flag.
    fn former(&mut self, name: &'static str, has_value: bool) -> Result<(), Mistake>;
}

type Visited = Result<(), Mistake>;

pub(super) fn rank(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut Option<SpatialRank>,
    _: &Option<SpatialRank>,
) -> Visited {
    visitor.rank(value)
}

fn argument<V: ArgumentValue>(
    visitor: &mut dyn ArgumentVisitor,
    kind: ArgumentKind,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Visited {
    let default = match kind {
        ArgumentKind::Required | ArgumentKind::Rest => String::new(),
        ArgumentKind::Optional | ArgumentKind::Named => default.text(),
    };
    visitor.argument(LayerArgument { name, value, default, kind })
}

pub(super) fn required<V: ArgumentValue>(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Visited {
    argument(visitor, ArgumentKind::Required, name, value, default)
}

pub(super) fn optional<V: ArgumentValue>(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Visited {
    argument(visitor, ArgumentKind::Optional, name, value, default)
}

pub(super) fn rest<V: ArgumentValue>(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Visited {
    argument(visitor, ArgumentKind::Rest, name, value, default)
}

pub(super) fn named<V: ArgumentValue>(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Visited {
    argument(visitor, ArgumentKind::Named, name, value, default)
}

pub(super) fn flag(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut bool,
    _: &bool,
) -> Visited {
    visitor.flag(name, value)
}

/// A flag that says what isn't so.
pub(super) fn unless(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut bool,
    _: &bool,
) -> Visited {
    let mut isnt = !*value;
    visitor.flag(name, &mut isnt)?;
    *value = !isnt;
    Ok(())
}

/// A required number from 0 to below 1.
pub(super) fn probability(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut f64,
    _: &f64,
) -> Visited {
    chance(visitor, ArgumentKind::Required, name, value)
}

/// A number from 0 to below 1 behind its name; 0 where it isn't said.
pub(super) fn named_probability(
    visitor: &mut dyn ArgumentVisitor,
    name: &'static str,
    value: &mut f64,
    _: &f64,
) -> Visited {
    chance(visitor, ArgumentKind::Named, name, value)
}

fn chance(
    visitor: &mut dyn ArgumentVisitor,
    kind: ArgumentKind,
    name: &'static str,
    value: &mut f64,
) -> Visited {
    let mut probability = Probability(*value);
    argument(visitor, kind, name, &mut probability, &Probability(0.0))?;
    *value = probability.0;
    Ok(())
}

/// What convolutions of every kind have.
fn strides(visitor: &mut dyn ArgumentVisitor, value: &mut ConvOptions, default: &ConvOptions) -> Visited {
    named(visitor, "stride", &mut value.stride, &default.stride)?;
    named(visitor, "padding", &mut value.padding, &default.padding)?;
    named(visitor, "dilation", &mut value.dilation, &default.dilation)
}

pub(super) fn convolution(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut ConvOptions,
    default: &ConvOptions,
) -> Visited {
    strides(visitor, value, default)?;
    named(visitor, "groups", &mut value.groups, &default.groups)?;
    visitor.former("output-padding", true)
}

/// Its groups are the channels.
pub(super) fn depthwise(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut ConvOptions,
    default: &ConvOptions,
) -> Visited {
    strides(visitor, value, default)?;
    visitor.former("groups", true)?;
    visitor.former("output-padding", true)
}

pub(super) fn transposed(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut ConvOptions,
    default: &ConvOptions,
) -> Visited {
    strides(visitor, value, default)?;
    named(visitor, "groups", &mut value.groups, &default.groups)?;
    named(visitor, "output-padding", &mut value.output_padding, &default.output_padding)
}

fn windows(visitor: &mut dyn ArgumentVisitor, value: &mut PoolOptions, default: &PoolOptions) -> Visited {
    required(visitor, "window", &mut value.window, &default.window)?;
    named(visitor, "stride", &mut value.stride, &default.stride)?;
    named(visitor, "padding", &mut value.padding, &default.padding)?;
    named(visitor, "dilation", &mut value.dilation, &default.dilation)?;
    visitor.flag("ceil", &mut value.ceil_mode)
}

pub(super) fn largest(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut PoolOptions,
    default: &PoolOptions,
) -> Visited {
    windows(visitor, value, default)?;
    visitor.former("without-padding", false)
}

pub(super) fn averaging(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut PoolOptions,
    default: &PoolOptions,
) -> Visited {
    windows(visitor, value, default)?;
    unless(visitor, "without-padding", &mut value.count_include_pad, &default.count_include_pad)
}

pub(super) fn recurrent(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut RecurrentOptions,
    default: &RecurrentOptions,
) -> Visited {
    named(visitor, "layers", &mut value.layers, &default.layers)?;
    visitor.flag("bidirectional", &mut value.bidirectional)?;
    named_probability(visitor, "dropout", &mut value.dropout, &default.dropout)?;
    unless(visitor, "no-bias", &mut value.bias, &default.bias)?;
    named(visitor, "truncate", &mut value.truncate, &default.truncate)?;
    named(visitor, "checkpoint", &mut value.checkpoint, &default.checkpoint)
}

pub(super) fn transformer(
    visitor: &mut dyn ArgumentVisitor,
    value: &mut TransformerOptions,
    default: &TransformerOptions,
) -> Visited {
    named(visitor, "feedforward", &mut value.feedforward, &default.feedforward)?;
    visitor.flag("causal", &mut value.causal)?;
    visitor.flag("post-norm", &mut value.post_norm)?;
    visitor.flag("relu", &mut value.relu)?;
    named_probability(visitor, "dropout", &mut value.dropout, &default.dropout)
}
