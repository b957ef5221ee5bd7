//! Under which names a decoder's tensors lie in a GGUF file, and in which order of their rows. Dense weights lie `[outputs, inputs]`, so
//! that packed rows are the columns of a product.

use kiln_ir::packed::BlockFormat;
use kiln_map::shown;
use kiln_nn::models::{BlockOptions, Decoder};
use kiln_nn::{Data, Module, Param, Tensor};

use super::file::{GgufFile, GgufTensor, TensorKind};
use crate::Result;
use crate::weights::mapping::captures;

/// A parameter's name and that of its tensor; a star stands for the number of a block.
const NAMES: &[(&str, &str)] = &[
    ("embedding.weight", "token_embd.weight"),
    ("positions.weight", "position_embd.weight"),
    ("blocks.*.attention_norm.*", "blk.*.attn_norm.*"),
    ("blocks.*.query.*", "blk.*.attn_q.*"),
    ("blocks.*.key.*", "blk.*.attn_k.*"),
    ("blocks.*.value.*", "blk.*.attn_v.*"),
    ("blocks.*.query_norm.*", "blk.*.attn_q_norm.*"),
    ("blocks.*.key_norm.*", "blk.*.attn_k_norm.*"),
    ("blocks.*.out.*", "blk.*.attn_output.*"),
    ("blocks.*.feedforward_norm.*", "blk.*.ffn_norm.*"),
    ("blocks.*.gate.*", "blk.*.ffn_gate.*"),
    ("blocks.*.up.*", "blk.*.ffn_up.*"),
    ("blocks.*.down.*", "blk.*.ffn_down.*"),
    ("norm.*", "output_norm.*"),
    ("head.weight", "output.weight"),
];

/// What a kind's files do otherwise than a hub's.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorNaming {
    /// The heads of queries and of keys whose features stand in pairs, instead of all first ones before all second ones.
    pub(super) paired: Option<[usize; 2]>,
    /// Whether queries, keys and values lie in one tensor.
    pub(super) joined: bool,
    /// Whether 1 was added to the norms' scales.
    pub(super) norms_from_one: bool,
}

/// Where a parameter's rows are.
pub(super) struct TensorPart {
    pub(super) name: String,
    /// Which third of the tensor's rows.
    pub(super) third: Option<usize>,
    /// Of how many heads the features stand in pairs.
    pub(super) paired: Option<usize>,
    /// Whether it is less by 1 here.
    pub(super) from_one: bool,
    /// Whether it is a matrix that products have as their columns, or rows are looked up in.
    pub(super) matrix: MatrixForm,
}

/// How a parameter lies beside its tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MatrixForm {
    /// In the same order of axes, and never packed.
    No,
    /// In the same order of axes.
    Rows,
    /// Its axes the other way round.
    Columns,
}

impl TensorNaming {
    /// Of a kind of model, as files name it.
    pub(super) fn of(kind: &str, block: &BlockOptions) -> TensorNaming {
        TensorNaming {
            paired: (kind == "llama").then_some([block.heads, block.kv_heads]),
            joined: kind == "gpt2",
            norms_from_one: kind == "gemma",
        }
    }

    /// Where the parameter of a path is.
    pub(super) fn place(&self, path: &str) -> Option<TensorPart> {
        let (own, file) = NAMES.iter().find(|(own, _)| captures(own, path).is_some())?;
        let stood = captures(own, path)?;
        let mut name = String::new();
        let mut stood = stood.into_iter();
        for (at, part) in file.split('*').enumerate() {
            if at > 0 {
                name += stood.next()?;
            }
            name += part;
        }
        let layer = path.rsplit('.').nth(1).unwrap_or_default();
        let head = ["query", "key", "value"].iter().position(|own| *own == layer);
        let third = head.filter(|_| self.joined);
        if third.is_some() {
            name = [".attn_q.", ".attn_k.", ".attn_v."]
                .iter()
                .fold(name, |name, part| name.replace(part, ".attn_qkv."));
        }
        let is_norm = layer.ends_with("norm");
        let matrix = match layer {
            "embedding" => MatrixForm::Rows,
            _ if is_norm || layer == "positions" || path.ends_with(".bias") => MatrixForm::No,
            _ => MatrixForm::Columns,
        };
        let paired = self.paired.and_then(|heads| heads.get(head?).copied());
        Some(TensorPart { name, third, paired, from_one: is_norm && self.norms_from_one, matrix })
    }
}

/// Gives a decoder that has no numbers yet those of a file.
pub(super) fn load(decoder: &Decoder, naming: &TensorNaming, file: &GgufFile) -> Result<()> {
    for (path, parameter) in decoder.parameters() {
        let place = naming.place(&path).ok_or_else(|| file.fault(format!("{path} has no name there")))?;
        let tensor = file.tensor(&place.name);
        let tensor = tensor.ok_or_else(|| file.fault(format!("{} is missing", place.name)))?;
        fill(&parameter, &place, tensor, file)
            .map_err(|message| file.fault(format!("{}: {message}", shown(&place.name))))?;
    }
    Ok(())
}

/// Gives one parameter its numbers.
fn fill(
    parameter: &Param,
    place: &TensorPart,
    tensor: &GgufTensor,
    file: &GgufFile,
) -> std::result::Result<(), String> {
    let (wanted, order) = place.rows(parameter);
    let lies = [&[order.of], &wanted[1..]].concat();
    if tensor.shape != lies {
        return Err(format!("it is {:?}, and the model's is {lies:?}", tensor.shape));
    }
    let bytes = file.bytes(tensor);
    let plain = match tensor.kind {
        TensorKind::F32 => order.picked(&singles(bytes)),
        // Of a vector each number is a row, and a block holds many of them.
        TensorKind::Packed(format) if place.matrix == MatrixForm::No => {
            order.picked(&unpacked(format, bytes))
        }
        TensorKind::Packed(format) => {
            let axes = place.axes();
            return parameter.set_packed(format, order.picked(bytes), axes).map_err(|error| error.message);
        }
        TensorKind::Other(name) => {
            let known: Vec<&str> = BlockFormat::ALL.iter().map(|format| format.name()).collect();
            return Err(format!(
                "it is {name}, which kiln doesn't unpack; it does F32, {}",
                known.join(", ")
            ));
        }
    };
    let value = Tensor::from_data(Data::F32(plain), wanted);
    let value = if place.matrix == MatrixForm::Columns { value.t() } else { value };
    let value = if place.from_one { value - 1.0 } else { value };
    parameter.set(&value).map_err(|error| error.message)
}

impl TensorPart {
    /// The shape of a parameter's own rows, outermost axis first, and where they are among those of the tensor.
    pub(super) fn rows(&self, parameter: &Param) -> (Vec<usize>, RowOrder) {
        let mut shape = parameter.shape().to_vec();
        if self.matrix == MatrixForm::Columns {
            shape.reverse();
        }
        let rows = shape.first().copied().unwrap_or(1);
        let first = self.third.unwrap_or(0) * rows;
        let at = |own: usize| first + self.paired.map_or(own, |heads| paired(own, rows / heads.max(1)));
        let of = if self.third.is_some() { 3 * rows } else { rows };
        (shape, RowOrder { rows: (0..rows).map(at).collect(), of })
    }

    /// The order of a parameter's axes in which its rows lie.
    pub(super) fn axes(&self) -> &'static [usize] {
        if self.matrix == MatrixForm::Columns { &[1, 0] } else { &[0, 1] }
    }
}

/// Which rows of a tensor follow each other in a parameter.
pub(super) struct RowOrder {
    rows: Vec<usize>,
    /// How many the tensor has.
    pub(super) of: usize,
}

impl RowOrder {
    /// Those rows of all that the tensor has.
    fn picked<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let row = all.len() / self.of.max(1);
        let mut ordered = Vec::with_capacity(self.rows.len() * row);
        self.rows.iter().for_each(|at| ordered.extend_from_slice(&all[at * row..(at + 1) * row]));
        ordered
    }

    /// The other way round: a parameter's rows put where they lie among those of the tensor.
    pub(super) fn put<T: Copy>(&self, own: &[T], all: &mut [T]) {
        let row = own.len() / self.rows.len().max(1);
        for (own, at) in own.chunks_exact(row.max(1)).zip(&self.rows) {
            all[at * row..(at + 1) * row].copy_from_slice(own);
        }
    }
}

/// Where the feature of a row stands if a head's come in pairs: the first of each half, then the second.
fn paired(row: usize, head: usize) -> usize {
    let (within, half) = (row % head.max(1), (head / 2).max(1));
    row - within + 2 * (within % half) + within / half
}

/// The numbers of a tensor.
pub(super) fn numbers(file: &GgufFile, tensor: &GgufTensor) -> Result<Vec<f32>> {
    match tensor.kind {
        TensorKind::F32 => Ok(singles(file.bytes(tensor))),
        TensorKind::Packed(format) => Ok(unpacked(format, file.bytes(tensor))),
        TensorKind::Other(name) => {
            Err(file.fault(format!("{} is {name}, which kiln doesn't unpack", shown(&tensor.name))))
        }
    }
}

fn singles(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn unpacked(format: BlockFormat, bytes: &[u8]) -> Vec<f32> {
    let mut numbers = vec![0.0; format.row_numbers(bytes.len()).unwrap_or(0)];
    format.unpack(bytes, &mut numbers);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_where_they_stand() {
        // Two heads of four features: 0 and 2 are a pair, 1 and 3 are.
        assert_eq!((0..8).map(|row| paired(row, 4)).collect::<Vec<_>>(), [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn every_parameter_has_a_place_of_its_own() {
        let joined = TensorNaming { paired: None, joined: true, norms_from_one: false };
        let place = joined.place("blocks.11.value.bias").unwrap();
        assert_eq!((place.name.as_str(), place.third), ("blk.11.attn_qkv.bias", Some(2)));
        let llama = TensorNaming { paired: Some([8, 2]), joined: false, norms_from_one: false };
        let place = llama.place("blocks.0.key.weight").unwrap();
        assert_eq!((place.name.as_str(), place.paired), ("blk.0.attn_k.weight", Some(2)));
        assert_eq!(llama.place("blocks.0.value.weight").unwrap().paired, None);
        let gemma = TensorNaming { paired: None, joined: false, norms_from_one: true };
        assert!(gemma.place("norm.weight").unwrap().from_one && gemma.place("head.weight").is_some());
        assert!(!gemma.place("blocks.3.down.weight").unwrap().from_one);
    }
}
