//! Models that go on with sequences, as a graph of their next steps: what layers keep of the steps before are inputs, and with the new steps
//! outputs. Names are those that runtimes of language models look for.

use kiln_ir::DType;
use kiln_nn::module::{KeptKind, KeptPart, NextSteps, PastSteps, named};
use kiln_nn::{Layer, Tensor};

use super::{Builder, FreeAxis, ModelInput, Size, write};
use crate::element::OnnxDType;
use crate::error::{Error, Result};

/// A graph of next steps that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepsGraph {
    /// What is kept, in the order of inputs behind the codes, and of outputs behind the logits.
    pub kept: Vec<KeptPart>,
    /// Whether the lengths are an input of their own, behind all others: a layer counts places, and no keys show how many there are.
    pub has_lengths: bool,
}

/// The name of the codes.
const CODES: &str = "input_ids";
/// The name of the steps before, where no keys show how many they are.
const LENGTHS: &str = "past_length";

/// Writes what layers make of the next codes `[batch, steps]` and of what they kept: the logits `[batch, steps, pieces]`, and what they keep
/// from then on. Attention sees up to `capacity` steps.
///
/// # Errors
/// Where a layer may look at later steps, or something has no form in ONNX.
pub fn write_steps(
    builder: &mut Builder,
    layers: &dyn Layer,
    pieces_axis: usize,
    capacity: usize,
    fold: bool,
) -> Result<StepsGraph> {
    let probe = Tensor::zeros([1, 1]).cast(DType::I64);
    let probed = named(layers, || NextSteps::of(layers, &probe, capacity, None))?;
    let kept: Vec<KeptPart> = probed.kept.into_iter().map(|(part, _)| part).collect();
    let grows = kept.iter().position(KeptPart::grows);
    let has_lengths = probed.counts_places && grows.is_none();

    let mut input = |name: &str, dtype: DType, sizes: Vec<Size>| ModelInput {
        name: builder.input(name, OnnxDType::from_dtype(dtype), &sizes),
        sizes,
        dtype,
    };
    let mut inputs = vec![input(CODES, DType::I64, vec![FreeAxis::Batch.size(), FreeAxis::Steps.size()])];
    for (part, name) in kept.iter().zip(names(&kept, true)) {
        inputs.push(input(&name, part.dtype, sizes(part, FreeAxis::Past)));
    }
    if has_lengths {
        inputs.push(input(LENGTHS, DType::I64, vec![FreeAxis::Batch.size()]));
    }

    let forward = |x: &[Tensor]| {
        let past = &x[1..=kept.len()];
        let lengths = match (has_lengths, grows) {
            (true, _) => x[kept.len() + 1].clone(),
            (false, Some(keys)) => Tensor::full([x[0].size(0)], past[keys].size(2) as i64),
            (false, None) => Tensor::full([x[0].size(0)], 0i64),
        };
        let past = PastSteps { kept: past.to_vec(), lengths };
        let next = named(layers, || NextSteps::of(layers, &x[0], capacity, Some(past)));
        match next {
            Ok(next) => {
                let logits = if pieces_axis == 1 { next.y.transpose(1, 2) } else { next.y };
                std::iter::once(logits.cast(DType::F32))
                    .chain(next.kept.into_iter().map(|(_, kept)| kept))
                    .collect()
            }
            Err(error) => vec![error.into()],
        }
    };
    let outputs = write(builder, &forward, &inputs, fold)?;
    let mut outputs = outputs.into_iter();
    let logits = outputs.next().ok_or_else(|| Error::network("the layers give no value"))?;
    builder.output(&logits.name, "logits", OnnxDType::F32, &logits.sizes);
    for ((part, name), output) in kept.iter().zip(names(&kept, false)).zip(outputs) {
        builder.output(&output.name, &name, OnnxDType::from_dtype(part.dtype), &sizes(part, FreeAxis::Total));
    }
    Ok(StepsGraph { kept, has_lengths })
}

/// The sizes of what is kept, with as many steps as this axis says.
fn sizes(part: &KeptPart, steps: FreeAxis) -> Vec<Size> {
    let mut sizes: Vec<Size> = part.shape.iter().map(|&size| Size::Fixed(size)).collect();
    if part.grows() {
        sizes.insert(sizes.len() - 1, steps.size());
    }
    sizes.insert(0, FreeAxis::Batch.size());
    sizes
}

/// The names of what is kept, those of each layer with its number among layers that keep the same.
fn names(kept: &[KeptPart], past: bool) -> Vec<String> {
    let number = |place: usize| {
        let kind = kept[place].kind;
        kept[..place].iter().filter(|part| part.kind == kind).count()
    };
    let name = |(place, part): (usize, &KeptPart)| {
        let (number, keys) = (number(place), if past { "past_key_values" } else { "present" });
        let other = if past { "past" } else { "present" };
        match part.kind {
            KeptKind::Key => format!("{keys}.{number}.key"),
            KeptKind::Value => format!("{keys}.{number}.value"),
            KeptKind::Hidden => format!("{other}_hidden.{number}"),
            KeptKind::Cell => format!("{other}_cell.{number}"),
            KeptKind::Window => format!("{other}_conv.{number}"),
        }
    };
    kept.iter().enumerate().map(name).collect()
}
