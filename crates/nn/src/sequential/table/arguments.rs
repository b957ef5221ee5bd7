//! The kinds of arguments that a layer of the table can have. Each is walked over, in the order of the table, by whoever reads, writes, explains
//! or checks a layer: so that what is written is what is read.

use super::value::{Probability, Value};
use crate::layers::{RecurrentOptions, TransformerOptions};
use crate::tensor::conv::ConvOptions;
use crate::tensor::pool::PoolOptions;
use crate::tensor::window::SpatialRank;

/// An argument's name and value.
pub(in crate::sequential) struct Argument<'a> {
    pub name: &'static str,
    pub value: &'a mut dyn Value,
    /// The text of its value where it isn't said.
    pub default: String,
    pub place: Place,
}

/// How an argument stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sequential) enum Place {
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

/// Whoever walks over a layer's arguments.
pub(in crate::sequential) trait Walk {
    /// The rank, which is part of the word: `conv2d`. None: the input's.
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake>;

    /// A value.
    fn argument(&mut self, argument: Argument) -> Result<(), Mistake>;

    /// A word that stands or doesn't.
    fn flag(&mut self, name: &'static str, on: &mut bool) -> Result<(), Mistake>;

    /// What earlier versions wrote and nothing came of: a name with a value behind it, or a flag.
    fn former(&mut self, name: &'static str, has_value: bool) -> Result<(), Mistake>;
}

type Walked = Result<(), Mistake>;

pub(super) fn rank(walk: &mut dyn Walk, value: &mut Option<SpatialRank>, _: &Option<SpatialRank>) -> Walked {
    walk.rank(value)
}

fn argument<V: Value>(
    walk: &mut dyn Walk,
    place: Place,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Walked {
    let default = match place {
        Place::Required | Place::Rest => String::new(),
        Place::Optional | Place::Named => default.text(),
    };
    walk.argument(Argument { name, value, default, place })
}

pub(super) fn required<V: Value>(
    walk: &mut dyn Walk,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Walked {
    argument(walk, Place::Required, name, value, default)
}

pub(super) fn optional<V: Value>(
    walk: &mut dyn Walk,
    name: &'static str,
    value: &mut V,
    default: &V,
) -> Walked {
    argument(walk, Place::Optional, name, value, default)
}

pub(super) fn rest<V: Value>(walk: &mut dyn Walk, name: &'static str, value: &mut V, default: &V) -> Walked {
    argument(walk, Place::Rest, name, value, default)
}

pub(super) fn named<V: Value>(walk: &mut dyn Walk, name: &'static str, value: &mut V, default: &V) -> Walked {
    argument(walk, Place::Named, name, value, default)
}

pub(super) fn flag(walk: &mut dyn Walk, name: &'static str, value: &mut bool, _: &bool) -> Walked {
    walk.flag(name, value)
}

/// A flag that says what isn't so.
pub(super) fn unless(walk: &mut dyn Walk, name: &'static str, value: &mut bool, _: &bool) -> Walked {
    let mut isnt = !*value;
    walk.flag(name, &mut isnt)?;
    *value = !isnt;
    Ok(())
}

/// A required number from 0 to below 1.
pub(super) fn probability(walk: &mut dyn Walk, name: &'static str, value: &mut f64, _: &f64) -> Walked {
    chance(walk, Place::Required, name, value)
}

/// A number from 0 to below 1 behind its name; 0 where it isn't said.
pub(super) fn named_probability(walk: &mut dyn Walk, name: &'static str, value: &mut f64, _: &f64) -> Walked {
    chance(walk, Place::Named, name, value)
}

fn chance(walk: &mut dyn Walk, place: Place, name: &'static str, value: &mut f64) -> Walked {
    let mut probability = Probability(*value);
    argument(walk, place, name, &mut probability, &Probability(0.0))?;
    *value = probability.0;
    Ok(())
}

/// What convolutions of every kind have.
fn strides(walk: &mut dyn Walk, value: &mut ConvOptions, default: &ConvOptions) -> Walked {
    named(walk, "stride", &mut value.stride, &default.stride)?;
    named(walk, "padding", &mut value.padding, &default.padding)?;
    named(walk, "dilation", &mut value.dilation, &default.dilation)
}

pub(super) fn convolution(walk: &mut dyn Walk, value: &mut ConvOptions, default: &ConvOptions) -> Walked {
    strides(walk, value, default)?;
    named(walk, "groups", &mut value.groups, &default.groups)?;
    walk.former("output-padding", true)
}

/// Its groups are the channels.
pub(super) fn depthwise(walk: &mut dyn Walk, value: &mut ConvOptions, default: &ConvOptions) -> Walked {
    strides(walk, value, default)?;
    walk.former("groups", true)?;
    walk.former("output-padding", true)
}

pub(super) fn transposed(walk: &mut dyn Walk, value: &mut ConvOptions, default: &ConvOptions) -> Walked {
    strides(walk, value, default)?;
    named(walk, "groups", &mut value.groups, &default.groups)?;
    named(walk, "output-padding", &mut value.output_padding, &default.output_padding)
}

fn windows(walk: &mut dyn Walk, value: &mut PoolOptions, default: &PoolOptions) -> Walked {
    required(walk, "window", &mut value.window, &default.window)?;
    named(walk, "stride", &mut value.stride, &default.stride)?;
    named(walk, "padding", &mut value.padding, &default.padding)?;
    named(walk, "dilation", &mut value.dilation, &default.dilation)?;
    walk.flag("ceil", &mut value.ceil_mode)
}

pub(super) fn largest(walk: &mut dyn Walk, value: &mut PoolOptions, default: &PoolOptions) -> Walked {
    windows(walk, value, default)?;
    walk.former("without-padding", false)
}

pub(super) fn averaging(walk: &mut dyn Walk, value: &mut PoolOptions, default: &PoolOptions) -> Walked {
    windows(walk, value, default)?;
    unless(walk, "without-padding", &mut value.count_include_pad, &default.count_include_pad)
}

pub(super) fn recurrent(
    walk: &mut dyn Walk,
    value: &mut RecurrentOptions,
    default: &RecurrentOptions,
) -> Walked {
    named(walk, "layers", &mut value.layers, &default.layers)?;
    walk.flag("bidirectional", &mut value.bidirectional)?;
    named_probability(walk, "dropout", &mut value.dropout, &default.dropout)?;
    unless(walk, "no-bias", &mut value.bias, &default.bias)
}

pub(super) fn transformer(
    walk: &mut dyn Walk,
    value: &mut TransformerOptions,
    default: &TransformerOptions,
) -> Walked {
    named(walk, "feedforward", &mut value.feedforward, &default.feedforward)?;
    walk.flag("causal", &mut value.causal)?;
    walk.flag("post-norm", &mut value.post_norm)?;
    walk.flag("relu", &mut value.relu)?;
    named_probability(walk, "dropout", &mut value.dropout, &default.dropout)
}
