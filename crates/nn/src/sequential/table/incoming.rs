//! What a layer is made for: the shape of what comes in, and what can be asked of it.

use kiln_ir::{Error, ErrorKind, Result, Shape};

use super::Spec;
use crate::layers::RecurrentOptions;
use crate::random::Key;
use crate::tensor::window::SpatialRank;

/// Layers on each other; more is nobody's model.
const MOST_LAYERS: usize = 64;

pub(super) struct Incoming<'a> {
    /// The layer that is made.
    pub spec: &'a Spec,
    pub shape: &'a Shape,
    pub key: Key,
}

impl Incoming<'_> {
    /// Why no such layer fits.
    #[track_caller]
    pub fn refuse(&self, message: String) -> Error {
        Error::new(ErrorKind::Shape, self.spec.to_string(), message)
    }

    #[track_caller]
    pub fn needs(&self, axes: usize) -> Result<()> {
        match self.shape.rank() >= axes {
            true => Ok(()),
            false => Err(self.refuse(format!("needs an input of {axes} axes or more, not {}", self.shape))),
        }
    }

    /// The size of the last axis.
    #[track_caller]
    pub fn features(&self) -> Result<usize> {
        self.needs(1)?;
        Ok(self.shape[self.shape.rank() - 1])
    }

    /// The size of axis 1.
    #[track_caller]
    pub fn channels(&self) -> Result<usize> {
        self.needs(2)?;
        Ok(self.shape[1])
    }

    /// The rank, which is the input's where the word left it open.
    #[track_caller]
    pub fn rank(&self, rank: Option<SpatialRank>) -> Result<SpatialRank> {
        let own = rank.or_else(|| SpatialRank::of(self.shape));
        own.ok_or_else(|| self.refuse(format!("needs [batch, channels, spatial…], not {}", self.shape)))
    }

    /// The features of a sequence.
    #[track_caller]
    pub fn steps(&self) -> Result<usize> {
        match self.shape.rank() {
            3 => Ok(self.shape[2]),
            _ => Err(self.refuse(format!("needs [batch, time, features], not {}", self.shape))),
        }
    }

    /// The features of a sequence, which can be divided among so many heads.
    #[track_caller]
    pub fn divided(&self, heads: usize) -> Result<usize> {
        match self.steps()? {
            width if heads > 0 && width % heads == 0 => Ok(width),
            width => Err(self.refuse(format!("{width} features don't divide among {heads} heads"))),
        }
    }

    /// The features of a sequence, for layers on each other.
    #[track_caller]
    pub fn stacked(&self, options: &RecurrentOptions) -> Result<usize> {
        match options.layers {
            1..=MOST_LAYERS => self.steps(),
            layers => Err(self.refuse(format!("{layers} layers; there are 1 to {MOST_LAYERS}"))),
        }
    }

    /// The channels, which go into so many groups, as those that come out do.
    #[track_caller]
    pub fn grouped(&self, groups: usize, outputs: usize) -> Result<usize> {
        match self.channels()? {
            inputs if groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups) => {
                Ok(inputs)
            }
            inputs => {
                Err(self
                    .refuse(format!("{inputs} channels in and {outputs} out don't go into {groups} groups")))
            }
        }
    }
}
