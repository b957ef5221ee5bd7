//! A decoder's tensors as a GGUF file holds them: the table that reads them, the other way round.

use kiln_ir::packed::BlockFormat;
use kiln_nn::models::Decoder;
use kiln_nn::{Data, Module, Param};

use super::file::TensorKind;
use super::layout::{MatrixForm, TensorNaming, TensorPart};
use super::write::TensorHeader;
use crate::{Error, Result};

/// What a tensor is made of.
pub(super) enum TensorContents {
    /// The bytes that parameters hold.
    Kept(Vec<(Param, TensorPart)>),
    /// Their numbers.
    Made(Vec<(Param, TensorPart)>),
    /// These.
    Numbers(Vec<f32>),
}

/// How a decoder's tensors lie, matrices as it is wanted, or as they are where nothing is.
pub(super) fn tensors(
    decoder: &Decoder,
    naming: &TensorNaming,
    wanted: Option<TensorKind>,
) -> Result<Vec<(TensorHeader, TensorContents)>> {
    let mut named: Vec<(String, Vec<(Param, TensorPart)>)> = Vec::new();
    for (path, parameter) in decoder.parameters() {
        // What an adapter adds is part of the parameter beside which it stands.
        if path.contains(".lora_") {
            continue;
        }
        let unnamed = || Error::Training(format!("{path} has no name in a GGUF file"));
        let part = naming.place(&path).ok_or_else(unnamed)?;
        match named.iter_mut().find(|(name, _)| *name == part.name) {
            Some((_, parts)) => parts.push((parameter, part)),
            None => named.push((part.name.clone(), vec![(parameter, part)])),
        }
    }
    Ok(named.into_iter().filter_map(|(name, parts)| tensor(name, parts, wanted)).collect())
}

fn tensor(
    name: String,
    parts: Vec<(Param, TensorPart)>,
    wanted: Option<TensorKind>,
) -> Option<(TensorHeader, TensorContents)> {
    let (first, part) = parts.first()?;
    let (own, order) = part.rows(first);
    let shape = [&[order.of], own.get(1..)?].concat();
    let row = shape.last().copied().unwrap_or(1);
    // Parts in several formats are one tensor only when they are unpacked.
    let packed = first.packed();
    let is_kept = |own: &Param| own.adapter().is_none() && own.packed() == packed;
    let packed = packed.filter(|_| parts.iter().all(|(own, _)| is_kept(own)));
    let (kind, kept) = match (part.matrix, wanted, packed) {
        (MatrixForm::No, ..) | (_, None, None) => (TensorKind::F32, false),
        (_, None, Some(format)) => (TensorKind::Packed(format), true),
        (_, Some(kind), _) => (fitting(kind, row), false),
    };
    let contents = if kept { TensorContents::Kept(parts) } else { TensorContents::Made(parts) };
    Some((TensorHeader { name, shape, kind }, contents))
}

impl TensorContents {
    /// Its numbers as they lie in the file.
    pub(super) fn bytes(&self, header: &TensorHeader) -> Result<Vec<u8>> {
        let made;
        let numbers = match self {
            TensorContents::Kept(parts) => {
                return joined(parts, 0u8, header.bytes(), |parameter, _| {
                    match parameter.variable()?.read()? {
                        Data::U8(blocks) => Ok(blocks),
                        _ => {
                            Err(Error::Training(format!("{} isn't packed, and was said to be", header.name)))
                        }
                    }
                });
            }
            TensorContents::Made(parts) => {
                made = joined(parts, 0.0f32, header.shape.iter().product(), |parameter, part| {
                    let own = parameter.tensor();
                    let own = if part.matrix == MatrixForm::Columns { own.t() } else { own };
                    let own = if part.from_one { own + 1.0 } else { own };
                    Ok(own.to_vec::<f32>()?)
                })?;
                &made
            }
            TensorContents::Numbers(numbers) => numbers,
        };
        match header.kind {
            TensorKind::Packed(format) => packed(&header.name, numbers, format),
            TensorKind::F32 | TensorKind::Other(_) => {
                Ok(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            }
        }
    }
}

/// Rows of all parts, each where it lies.
fn joined<T: Copy>(
    parts: &[(Param, TensorPart)],
    zero: T,
    count: usize,
    own: impl Fn(&Param, &TensorPart) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut all = vec![zero; count];
    for (parameter, part) in parts {
        part.rows(parameter).1.put(&own(parameter, part)?, &mut all);
    }
    Ok(all)
}

fn packed(name: &str, numbers: &[f32], format: BlockFormat) -> Result<Vec<u8>> {
    let mut blocks = vec![0; format.row_bytes(numbers.len()).unwrap_or(0)];
    format.pack(numbers, &mut blocks);
    let mut back = vec![0.0; numbers.len()];
    format.unpack(&blocks, &mut back);
    // What packs may make a number of what isn't one.
    match numbers.iter().zip(&back).position(|(number, back)| !number.is_finite() || !back.is_finite()) {
        None => Ok(blocks),
        Some(at) => {
            let number = numbers[at];
            Err(Error::Training(format!(
                "{name} can't be packed as {format}: one of its numbers is {number}"
            )))
        }
    }
}

/// The kind that rows of so many numbers can have: the wanted one, or the one with smaller blocks that loses least more.
fn fitting(wanted: TensorKind, row: usize) -> TensorKind {
    let TensorKind::Packed(format) = wanted else { return wanted };
    let smaller = match format {
        BlockFormat::Q4K => BlockFormat::Q5_0,
        BlockFormat::Q5K => BlockFormat::Q5_1,
        BlockFormat::Q6K => BlockFormat::Q8_0,
        BlockFormat::Q4_0
        | BlockFormat::Q4_1
        | BlockFormat::Q5_0
        | BlockFormat::Q5_1
        | BlockFormat::Q8_0
        | BlockFormat::F16
        | BlockFormat::Bf16 => BlockFormat::F16,
    };
    let fits = |format: &BlockFormat| format.row_bytes(row).is_some();
    TensorKind::Packed([format, smaller].into_iter().find(fits).unwrap_or(BlockFormat::F16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_packed_in_no_format() {
        for format in BlockFormat::ALL {
            let mut numbers = vec![1.0; 256];
            assert!(packed("w", &numbers, format).is_ok(), "{format}");
            for wrong in [f32::NAN, f32::INFINITY] {
                numbers[7] = wrong;
                assert!(packed("w", &numbers, format).is_err(), "{format}: {wrong}");
            }
        }
    }
}
