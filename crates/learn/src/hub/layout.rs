//! Under which names tensors lie in a hub's files, and how: one table for reading and writing.

use kiln_nn::{DType, Data, Module, Param, Tensor};

use super::Naming;
use crate::store::{HostTensor, TensorFile};
use crate::weights::mapping::captures;
use crate::weights::{StoredTensor, Weights};
use crate::{Error, Result};

/// Where a parameter lies. A star stands for the number of a block.
struct Place {
    own: &'static str,
    file: &'static str,
    form: Arrangement,
}

/// How it lies there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    /// As here.
    Same,
    /// `[outputs, inputs]`.
    Transposed,
    /// One of three that stand side by side along the last axis.
    Third(usize),
}

const fn place(own: &'static str, file: &'static str, form: Arrangement) -> Place {
    Place { own, file, form }
}

use Arrangement::{Same, Third, Transposed};

const GPT2: &[Place] = &[
    place("embedding.weight", "transformer.wte.weight", Same),
    place("positions.weight", "transformer.wpe.weight", Same),
    place("blocks.*.attention_norm.*", "transformer.h.*.ln_1.*", Same),
    place("blocks.*.query.*", "transformer.h.*.attn.c_attn.*", Third(0)),
    place("blocks.*.key.*", "transformer.h.*.attn.c_attn.*", Third(1)),
    place("blocks.*.value.*", "transformer.h.*.attn.c_attn.*", Third(2)),
    place("blocks.*.out.*", "transformer.h.*.attn.c_proj.*", Same),
    place("blocks.*.feedforward_norm.*", "transformer.h.*.ln_2.*", Same),
    place("blocks.*.up.*", "transformer.h.*.mlp.c_fc.*", Same),
    place("blocks.*.down.*", "transformer.h.*.mlp.c_proj.*", Same),
    place("norm.*", "transformer.ln_f.*", Same),
    place("head.weight", "lm_head.weight", Transposed),
];

const LLAMA: &[Place] = &[
    place("embedding.weight", "model.embed_tokens.weight", Same),
    place("blocks.*.attention_norm.weight", "model.layers.*.input_layernorm.weight", Same),
    place("blocks.*.query.weight", "model.layers.*.self_attn.q_proj.weight", Transposed),
    place("blocks.*.query.bias", "model.layers.*.self_attn.q_proj.bias", Same),
    place("blocks.*.key.weight", "model.layers.*.self_attn.k_proj.weight", Transposed),
    place("blocks.*.key.bias", "model.layers.*.self_attn.k_proj.bias", Same),
    place("blocks.*.value.weight", "model.layers.*.self_attn.v_proj.weight", Transposed),
    place("blocks.*.value.bias", "model.layers.*.self_attn.v_proj.bias", Same),
    place("blocks.*.query_norm.weight", "model.layers.*.self_attn.q_norm.weight", Same),
    place("blocks.*.key_norm.weight", "model.layers.*.self_attn.k_norm.weight", Same),
    place("blocks.*.out.weight", "model.layers.*.self_attn.o_proj.weight", Transposed),
    place("blocks.*.out.bias", "model.layers.*.self_attn.o_proj.bias", Same),
    place("blocks.*.feedforward_norm.weight", "model.layers.*.post_attention_layernorm.weight", Same),
    place("blocks.*.gate.weight", "model.layers.*.mlp.gate_proj.weight", Transposed),
    place("blocks.*.gate.bias", "model.layers.*.mlp.gate_proj.bias", Same),
    place("blocks.*.up.weight", "model.layers.*.mlp.up_proj.weight", Transposed),
    place("blocks.*.up.bias", "model.layers.*.mlp.up_proj.bias", Same),
    place("blocks.*.down.weight", "model.layers.*.mlp.down_proj.weight", Transposed),
    place("blocks.*.down.bias", "model.layers.*.mlp.down_proj.bias", Same),
    place("norm.weight", "model.norm.weight", Same),
    place("head.weight", "lm_head.weight", Transposed),
];

impl Naming {
    fn places(self) -> &'static [Place] {
        match self {
            Naming::Gpt2 => GPT2,
            Naming::Llama => LLAMA,
        }
    }

    /// What names in files may begin with and needn't: a bare backbone's lack it.
    fn prefix(self) -> &'static str {
        match self {
            Naming::Gpt2 => "transformer.",
            Naming::Llama => "model.",
        }
    }

    /// The name in a file for a parameter's path, and how it lies there.
    fn name(self, path: &str) -> Option<(String, Arrangement)> {
        self.places().iter().find_map(|place| {
            let stood = captures(place.own, path)?;
            let mut name = String::new();
            let mut stood = stood.into_iter();
            for (at, part) in place.file.split('*').enumerate() {
                if at > 0 {
                    name += stood.next()?;
                }
                name += part;
            }
            Some((name, place.form))
        })
    }
}

/// Puts a file's tensors into a decoder.
pub(super) fn load(decoder: &impl Module, kind: Naming, weights: &Weights) -> Result<()> {
    let mut faults = Vec::new();
    let mut ready: Vec<(Param, Tensor)> = Vec::new();
    for (path, parameter) in decoder.parameters() {
        let Some((name, form)) = kind.name(&path) else {
            faults.push(format!("{path} has no name there"));
            continue;
        };
        let bare = name.strip_prefix(kind.prefix());
        let Some(weight) = weights.get(&name).or_else(|| weights.get(bare?)) else {
            faults.push(format!("{name} is missing"));
            continue;
        };
        match tensor(&weight, form, &parameter)? {
            Some(tensor) => ready.push((parameter, tensor)),
            None => faults.push(format!(
                "{name} is {:?}, which doesn't fit {path} {}",
                weight.shape(),
                parameter.shape()
            )),
        }
    }
    if !faults.is_empty() {
        let shown = faults.iter().take(MOST_SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = faults.len().saturating_sub(MOST_SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return Err(Error::format(
            weights.path(),
            format!("its tensors aren't those that {} speaks of: {shown}{more}", super::CONFIG),
        ));
    }
    // Everything is read before anything is set.
    ready.iter().try_for_each(|(parameter, tensor)| Ok(parameter.set(tensor)?))
}

/// So many faults are said at once.
const MOST_SHOWN: usize = 8;

/// A file's tensor as a parameter has it; nothing where the shape is another.
fn tensor(weight: &StoredTensor, form: Arrangement, parameter: &Param) -> Result<Option<Tensor>> {
    let (own, there) = (parameter.shape().to_vec(), weight.shape());
    let wanted: Vec<usize> = match (form, own.as_slice()) {
        (Transposed, &[inputs, outputs]) => vec![outputs, inputs],
        (Third(_), [first @ .., last]) => [first, &[3 * last]].concat(),
        (Same | Transposed | Third(_), _) => own.clone(),
    };
    if there != wanted {
        return Ok(None);
    }
    let whole = Tensor::from_data(weight.data()?.cast(parameter.tensor().dtype()), there);
    let last = own.last().copied().unwrap_or(1);
    Ok(Some(match form {
        Same => whole,
        Transposed => whole.t(),
        Third(part) => whole.narrow(-1, (part * last) as isize, last),
    }))
}

/// A decoder's parameters as its files hold them.
pub(super) fn store(decoder: &impl Module, kind: Naming) -> Result<TensorFile> {
    let mut store = TensorFile::default();
    let mut thirds: Vec<(String, Tensor)> = Vec::new();
    let mut put = |name: String, tensor: &Tensor| -> Result<()> {
        let data: Data = tensor.to_data()?;
        store.tensors.insert(name, HostTensor { shape: tensor.shape().to_vec(), data });
        Ok(())
    };
    for (path, parameter) in decoder.parameters() {
        let unnamed = || Error::Training(format!("{path} has no name in a hub's files"));
        let (name, form) = kind.name(&path).ok_or_else(unnamed)?;
        let own = parameter.tensor();
        match form {
            Same => put(name, &own)?,
            Transposed => put(name, &own.t())?,
            // Queries, keys and values come in this order.
            Third(_) => thirds.push((name, own)),
        }
    }
    thirds.sort_by(|a, b| a.0.cmp(&b.0));
    for three in thirds.chunks(3) {
        let parts: Vec<&Tensor> = three.iter().map(|(_, part)| part).collect();
        put(three[0].0.clone(), &Tensor::concat(&parts, -1))?;
    }
    debug_assert!(store.tensors.values().all(|tensor| tensor.data.dtype() == DType::F32));
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_parameters_have_one_place() {
        for kind in [Naming::Gpt2, Naming::Llama] {
            let mut seen = Vec::new();
            for place in kind.places() {
                assert_eq!(place.own.matches('*').count(), place.file.matches('*').count(), "{}", place.own);
                let at = (place.file, if let Third(part) = place.form { part } else { 9 });
                assert!(!seen.contains(&at), "{}", place.file);
                seen.push(at);
            }
        }
        assert_eq!(
            Naming::Llama.name("blocks.11.gate.weight").unwrap().0,
            "model.layers.11.mlp.gate_proj.weight"
        );
        assert_eq!(Naming::Gpt2.name("blocks.3.key.bias").unwrap().0, "transformer.h.3.attn.c_attn.bias");
    }
}
