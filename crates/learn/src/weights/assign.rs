//! A file's tensors into a model: which goes where, what is missing, unexpected or of another shape. Nothing is changed unless
//! everything fits.

use std::collections::BTreeMap;
use std::fmt;

use kiln_ir::packed::BlockFormat;
use kiln_map::{counted, nearest, shown};
use kiln_nn::{DType, Data, Module, Param, Shape, Tensor, Variable};

use super::entry::Entry;
use super::{Mapping, StoredTensor, Weights};
use crate::{Error, Result};

/// How well a file must fit a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Each has what the other has.
    Strict,
    /// The model may keep what the file lacks, and the file may have more; shapes must fit all the same.
    Lenient,
}

/// What became of each tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names in the file and in the model of what was loaded.
    pub loaded: Vec<(String, String)>,
    /// Names in the model that the file has nothing for.
    pub missing: Vec<String>,
    /// Names in the file that the model has no place for.
    pub unexpected: Vec<String>,
    /// Names in the model of what has another shape or kind in the file, or is packed in the model.
    pub misshaped: Vec<String>,
    /// Names in the file that were left out, by a rule or because they count batches (`num_batches_tracked`).
    pub left_out: Vec<String>,
    /// Square matrices that were loaded as they are. Nothing shows whether those should have been transposed.
    pub square: Vec<String>,
}

/// Where numbers go.
enum ParamOrState {
    Param(Param),
    State(Variable),
}

impl ParamOrState {
    fn shape(&self) -> Shape {
        match self {
            ParamOrState::Param(param) => param.shape(),
            ParamOrState::State(state) => state.shape().clone(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            ParamOrState::Param(param) => param.dtype(),
            ParamOrState::State(state) => state.dtype(),
        }
    }

    /// How its numbers are packed, if they are; then they aren't changed.
    fn packed(&self) -> Option<BlockFormat> {
        match self {
            ParamOrState::Param(param) => param.packed(),
            ParamOrState::State(_) => None,
        }
    }

    fn set(&self, data: Data) -> Result<()> {
        match self {
            ParamOrState::Param(param) => param.set(&Tensor::from_data(data, self.shape().sizes()))?,
            ParamOrState::State(state) => state.write(&data)?,
        }
        Ok(())
    }
}

impl Weights {
    /// Loads the tensors into a model's parameters and running statistics, under the names that `mapping` gives them and
    /// converted to their types.
    ///
    /// # Errors
    /// Where names, shapes or kinds don't fit; it lists them. The model is then as it was.
    pub fn load_into<M: Module + ?Sized>(&self, model: &M, mapping: &Mapping, fit: Fit) -> Result<Report> {
        let parameters =
            model.parameters().into_iter().map(|(path, param)| (path, ParamOrState::Param(param)));
        let states = model.states().into_iter().map(|(path, state)| (path, ParamOrState::State(state)));
        let slots: BTreeMap<String, ParamOrState> = parameters.chain(states).collect();
        let mut plan = Assignment {
            slots: &slots,
            found: BTreeMap::new(),
            report: Report::default(),
            reasons: BTreeMap::new(),
        };
        for weight in self.iter() {
            plan.place(weight, mapping);
        }
        let Assignment { found, mut report, reasons, .. } = plan;
        let is_missing =
            |path: &&String| !found.contains_key(path.as_str()) && !reasons.contains_key(path.as_str());
        report.missing = slots.keys().filter(is_missing).cloned().collect();
        let names_fit = report.missing.is_empty() && report.unexpected.is_empty();
        let is_in_vain = found.is_empty() && !slots.is_empty();
        if !reasons.is_empty() || is_in_vain || (fit == Fit::Strict && !names_fit) || slots.is_empty() {
            let names: Vec<&str> = self.iter().map(|weight| weight.name()).collect();
            let idle = mapping.idle(&names);
            return Err(Error::format(self.path(), refusal(&report, &reasons, &slots, self, fit, &idle)));
        }
        // Everything is read before anything is set.
        let mut ready = Vec::with_capacity(found.len());
        for (path, (weight, entry)) in &found {
            let weight = StoredTensor { entry, ..*weight };
            let slot = &slots[*path];
            ready.push((slot, weight.data()?.cast(slot.dtype())));
            report.loaded.push((weight.name().to_string(), path.to_string()));
        }
        for (slot, data) in ready {
            slot.set(data)?;
        }
        Ok(report)
    }
}

struct Assignment<'a> {
    slots: &'a BTreeMap<String, ParamOrState>,
    /// By the model's name: the file's tensor, as it is to be read.
    found: BTreeMap<&'a str, (StoredTensor<'a>, Entry)>,
    report: Report,
    /// By the model's name: why a tensor of the file can't be taken.
    reasons: BTreeMap<&'a str, String>,
}

impl<'a> Assignment<'a> {
    /// Finds the place of one tensor.
    fn place(&mut self, weight: StoredTensor<'a>, mapping: &Mapping) {
        let name = weight.name();
        let Some(target) = mapping.target(name) else {
            self.report.left_out.push(name.to_string());
            return;
        };
        let Some((path, slot)) = self.slots.get_key_value(&target.name) else {
            let counts = name.rsplit('.').next() == Some("num_batches_tracked");
            let list = if counts { &mut self.report.left_out } else { &mut self.report.unexpected };
            list.push(name.to_string());
            return;
        };
        let is_matrix = weight.shape().len() == 2;
        let entry = match target.is_transposed && is_matrix {
            true => weight.entry.transposed(),
            false => weight.entry.clone(),
        };
        let (shape, own) = (slot.shape(), slot.dtype());
        let reason = if entry.shape != shape.sizes() {
            let turned = weight.entry.transposed();
            let hint = match is_matrix && turned.shape == shape.sizes() {
                true => format!("; the rule `{} -> {path} transposed` turns it", shown(name)),
                false => String::new(),
            };
            Some(format!("{} is {:?} in the file{hint}", shown(name), weight.shape()))
        } else if entry.element.dtype().is_float() && !own.is_float() {
            Some(format!("{} is of {} in the file, which {own} can't hold", shown(name), entry.element))
        } else if let Some(format) = slot.packed() {
            Some(format!("it is packed as {format} in the model, and isn't changed"))
        } else {
            self.found.get(path.as_str()).map(|(other, _)| {
                format!("both {} and {} of the file would go there", shown(other.name()), shown(name))
            })
        };
        if let Some(reason) = reason {
            self.reasons.insert(path, reason);
            self.report.misshaped.push(path.clone());
            return;
        }
        if is_matrix && !target.is_transposed && entry.shape[0] == entry.shape[1] && entry.shape[0] > 1 {
            self.report.square.push(path.clone());
        }
        self.found.insert(path, (weight, entry));
    }
}

/// At most this many names of a kind are listed.
const MOST_NAMES: usize = 20;

/// Why a file doesn't fit, with every name and the mend.
fn refusal(
    report: &Report,
    reasons: &BTreeMap<&str, String>,
    slots: &BTreeMap<String, ParamOrState>,
    weights: &Weights,
    fit: Fit,
    idle: &[&str],
) -> String {
    if slots.is_empty() {
        return "the model has no parameters yet; layers find their sizes when they are first run"
            .to_string();
    }
    let shape =
        |name: &str| weights.get(name).map_or_else(String::new, |weight| format!("{:?}", weight.shape()));
    let unexpected =
        || report.unexpected.iter().map(String::as_str).filter(|name| name.len() < 200).take(1000);
    let missing = listed("missing", &report.missing, |path| {
        // A checkpoint often has the model's names under one of its own.
        let within =
            unexpected().find(|name| name.strip_suffix(path).is_some_and(|rest| rest.ends_with('.')));
        let own = slots[path].shape();
        let near =
            within.or_else(|| nearest(path, unexpected().filter(|name| fits(weights, name, own.sizes()))));
        let near = near.map(|near| format!(" (the file has {})", shown(near)));
        format!("{path} {:?}{}", own.sizes(), near.unwrap_or_default())
    });
    let unexpected =
        listed("unexpected", &report.unexpected, |name| format!("{} {}", shown(name), shape(name)));
    let wrong: Vec<&str> = reasons.keys().copied().collect();
    let misshaped = listed("mis-shaped", &wrong, |path| {
        let slot = &slots[path];
        format!("{path} {:?}: {}", slot.shape().sizes(), reasons[path])
    });
    let lenient = match fit {
        Fit::Strict if reasons.is_empty() => {
            ", and a lenient fit (--lenient) leaves missing ones as they are"
        }
        _ => "",
    };
    let idle = listed("rules that no name of the file fits", idle, |from| format!("{} ->", shown(from)));
    format!(
        "the weights don't fit the model, which stays as it was\n{missing}{unexpected}{misshaped}{idle}\
         a rule `a.* -> b.*` renames, `a.* ->` leaves out{lenient}"
    )
}

/// Whether a tensor of the file has these sizes, as it is or turned.
fn fits(weights: &Weights, name: &str, sizes: &[usize]) -> bool {
    let shape = weights.get(name).map_or(&[][..], |weight| weight.shape());
    shape == sizes || (shape.len() == 2 && shape.iter().rev().eq(sizes))
}

/// A line for each name, under what is the matter with them.
fn listed<T: AsRef<str>>(what: &str, names: &[T], line: impl Fn(&str) -> String) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!("{what} ({}):\n", names.len());
    for name in names.iter().take(MOST_NAMES) {
        text += &format!("  {}\n", line(name.as_ref()));
    }
    if names.len() > MOST_NAMES {
        text += &format!("  … and {} more\n", names.len() - MOST_NAMES);
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", counted(self.loaded.len(), "tensor"))?;
        let as_is = |name: &str| shown(name);
        for (what, names) in [
            ("missing from the file, left as they were", &self.missing),
            ("unexpected, left out", &self.unexpected),
            (
                "square matrices loaded as they are; a Linear of PyTorch's wants a rule with `transposed`",
                &self.square,
            ),
        ] {
            if !names.is_empty() {
                write!(f, "\n{}", listed(what, names, as_is).trim_end())?;
            }
        }
        Ok(())
    }
}
