//! The rank of convolutions and pools: what the word says, or else the input's; never another's layer.

use kiln_ir::{Error, ErrorKind, Result, Shape};

use super::{ArgumentVisitor, LayerArgument, Mistake, Spec};
use crate::tensor::window::SpatialRank;

/// Finds the rank of a layer and, where it is open and one is known, sets it.
struct Ranks {
    known: Option<SpatialRank>,
    /// None: the layer has no rank. None within: it is open.
    found: Option<Option<SpatialRank>>,
    /// Arguments with a number for each axis, and how many numbers.
    each: Vec<(&'static str, String, usize)>,
}

impl ArgumentVisitor for Ranks {
    fn rank(&mut self, rank: &mut Option<SpatialRank>) -> Result<(), Mistake> {
        *rank = rank.or(self.known);
        self.found = Some(*rank);
        Ok(())
    }

    fn argument(&mut self, argument: LayerArgument) -> Result<(), Mistake> {
        let numbers = argument.value.axes().map(|axes| (argument.name, argument.value.text(), axes));
        self.each.extend(numbers);
        Ok(())
    }

    fn flag(&mut self, _: &'static str, _: &mut bool) -> Result<(), Mistake> {
        Ok(())
    }

    fn former(&mut self, _: &'static str, _: bool) -> Result<(), Mistake> {
        Ok(())
    }
}

impl Spec {
    fn ranks(&self, known: Option<SpatialRank>) -> (Spec, Ranks) {
        let (mut spec, mut ranks) = (self.clone(), Ranks { known, found: None, each: Vec::new() });
        // Nothing of this visit can be a mistake.
        let _ = spec.visit(&mut ranks);
        (spec, ranks)
    }

    /// The rank it says it has.
    pub fn rank(&self) -> Option<SpatialRank> {
        self.ranks(None).1.found.flatten()
    }

    /// The same of this rank, where it has one and left it open.
    pub(in crate::sequential) fn with_rank(&self, rank: Option<SpatialRank>) -> Spec {
        self.ranks(rank).0
    }

    /// Whether its word may say a rank.
    pub(in crate::sequential) fn is_ranked(&self) -> bool {
        self.ranks(None).1.found.is_some()
    }

    /// What is wrong with numbers for each axis, of which there are as many as its rank says.
    pub(in crate::sequential) fn uneven(&self) -> Option<String> {
        let (_, ranks) = self.ranks(None);
        let rank = ranks.found.flatten()?;
        let (name, text, _) = ranks.each.iter().find(|(.., axes)| *axes != rank.axes())?;
        Some(format!("{name} {text} isn't for {}; write one number, or {}", axes(rank), rank.axes()))
    }

    /// The same for inputs of this shape: a rank that was left open is the input's.
    #[track_caller]
    pub(in crate::sequential) fn ranked(&self, input: &Shape) -> Result<Spec> {
        let of_input = SpatialRank::of(input);
        let (spec, ranks) = self.ranks(of_input);
        let refuse = |message: String| Err(Error::new(ErrorKind::Shape, self.to_string(), message));
        let word = self.word();
        match ranks.found {
            None => return Ok(spec),
            Some(rank) if rank.is_some() && rank == of_input => {}
            Some(Some(rank)) => {
                let mend = match of_input {
                    Some(other) => format!("write `{word}{other}`, or `{word}` for whatever comes"),
                    None => reshaped(rank, input),
                };
                return refuse(format!("takes {}, and {input} comes in; {mend}", rank.layout()));
            }
            Some(None) => {
                let layouts = SpatialRank::ALL.map(SpatialRank::layout).join(" or ");
                let mend = reshaped(SpatialRank::One, input);
                return refuse(format!("takes {layouts}, and {input} comes in; {mend}"));
            }
        }
        match spec.uneven() {
            None => Ok(spec),
            Some(wrong) => refuse(format!("{input} comes in, and {wrong}")),
        }
    }
}

fn axes(rank: SpatialRank) -> &'static str {
    match rank {
        SpatialRank::One => "1 spatial axis",
        SpatialRank::Two => "2 spatial axes",
        SpatialRank::Three => "3 spatial axes",
    }
}

/// How an input that has no spatial axes, or too many, gets as many as a rank has.
fn reshaped(rank: SpatialRank, input: &Shape) -> String {
    let sizes = match (rank, input.sizes()) {
        (SpatialRank::One, [_, features]) => format!("1 {features}"),
        (SpatialRank::One, _) => "CHANNELS LENGTH".to_string(),
        (SpatialRank::Two, _) => "CHANNELS HEIGHT WIDTH".to_string(),
        (SpatialRank::Three, _) => "CHANNELS DEPTH HEIGHT WIDTH".to_string(),
    };
    format!("`reshape {sizes}` before it makes such axes")
}
