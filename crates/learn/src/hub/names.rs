//! Under which names tensors lie in a hub's files: one table for reading and writing.

use crate::weights::mapping::captures;

/// Whose names the tensors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Gpt2,
    /// Llama's names, which those after it kept.
    Llama,
    Bert,
    Distilbert,
    Roberta,
    /// RoBERTa where it tells classes of texts apart: what stands on the first step is named otherwise.
    RobertaClasses,
    T5,
    /// T5 with two products into the middle of a block.
    T5Gated,
    Vit,
}

/// Where a parameter lies. A star stands for the number of a block and the like, `@` for what names of a kind begin with.
pub(super) struct Place {
    own: &'static str,
    file: &'static str,
    form: Arrangement,
}

/// How it lies there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// As here.
    Same,
    /// Matrices as `[outputs, inputs]`; all else as here.
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

/// BERT's and RoBERTa's, but for what stands on the last block.
const BERT: &[Place] = &[
    place("words.weight", "@.embeddings.word_embeddings.weight", Same),
    place("positions.weight", "@.embeddings.position_embeddings.weight", Same),
    place("types.weight", "@.embeddings.token_type_embeddings.weight", Same),
    place("norm.*", "@.embeddings.LayerNorm.*", Same),
    place("blocks.*.query.*", "@.encoder.layer.*.attention.self.query.*", Transposed),
    place("blocks.*.key.*", "@.encoder.layer.*.attention.self.key.*", Transposed),
    place("blocks.*.value.*", "@.encoder.layer.*.attention.self.value.*", Transposed),
    place("blocks.*.out.*", "@.encoder.layer.*.attention.output.dense.*", Transposed),
    place("blocks.*.attention_norm.*", "@.encoder.layer.*.attention.output.LayerNorm.*", Same),
    place("blocks.*.up.*", "@.encoder.layer.*.intermediate.dense.*", Transposed),
    place("blocks.*.down.*", "@.encoder.layer.*.output.dense.*", Transposed),
    place("blocks.*.feedforward_norm.*", "@.encoder.layer.*.output.LayerNorm.*", Same),
];

const BERT_HEADS: &[Place] = &[
    place("pooler.*", "bert.pooler.dense.*", Transposed),
    place("classes.*", "classifier.*", Transposed),
    place("transform.*", "cls.predictions.transform.dense.*", Transposed),
    place("transform_norm.*", "cls.predictions.transform.LayerNorm.*", Same),
    place("pieces.weight", "cls.predictions.decoder.weight", Transposed),
    place("pieces_bias", "cls.predictions.bias", Same),
];

const ROBERTA_HEADS: &[Place] = &[
    place("pooler.*", "roberta.pooler.dense.*", Transposed),
    place("classes.*", "classifier.*", Transposed),
    place("transform.*", "lm_head.dense.*", Transposed),
    place("transform_norm.*", "lm_head.layer_norm.*", Same),
    place("pieces.weight", "lm_head.decoder.weight", Transposed),
    place("pieces_bias", "lm_head.bias", Same),
];

const ROBERTA_CLASSES: &[Place] = &[
    place("pooler.*", "classifier.dense.*", Transposed),
    place("classes.*", "classifier.out_proj.*", Transposed),
];

const DISTILBERT: &[Place] = &[
    place("words.weight", "@.embeddings.word_embeddings.weight", Same),
    place("positions.weight", "@.embeddings.position_embeddings.weight", Same),
    place("norm.*", "@.embeddings.LayerNorm.*", Same),
    place("blocks.*.query.*", "@.transformer.layer.*.attention.q_lin.*", Transposed),
    place("blocks.*.key.*", "@.transformer.layer.*.attention.k_lin.*", Transposed),
    place("blocks.*.value.*", "@.transformer.layer.*.attention.v_lin.*", Transposed),
    place("blocks.*.out.*", "@.transformer.layer.*.attention.out_lin.*", Transposed),
    place("blocks.*.attention_norm.*", "@.transformer.layer.*.sa_layer_norm.*", Same),
    place("blocks.*.up.*", "@.transformer.layer.*.ffn.lin1.*", Transposed),
    place("blocks.*.down.*", "@.transformer.layer.*.ffn.lin2.*", Transposed),
    place("blocks.*.feedforward_norm.*", "@.transformer.layer.*.output_layer_norm.*", Same),
    place("pooler.*", "pre_classifier.*", Transposed),
    place("classes.*", "classifier.*", Transposed),
    place("transform.*", "vocab_transform.*", Transposed),
    place("transform_norm.*", "vocab_layer_norm.*", Same),
    place("pieces.weight", "vocab_projector.weight", Transposed),
    place("pieces_bias", "vocab_projector.bias", Same),
];

const T5: &[Place] = &[
    place("shared.weight", "shared.weight", Same),
    place("*.bias.weight", "*.block.0.layer.0.SelfAttention.relative_attention_bias.weight", Same),
    place("*.norm.weight", "*.final_layer_norm.weight", Same),
    place("*.blocks.*.attention_norm.weight", "*.block.*.layer.0.layer_norm.weight", Same),
    place("*.blocks.*.attention.query.weight", "*.block.*.layer.0.SelfAttention.q.weight", Transposed),
    place("*.blocks.*.attention.key.weight", "*.block.*.layer.0.SelfAttention.k.weight", Transposed),
    place("*.blocks.*.attention.value.weight", "*.block.*.layer.0.SelfAttention.v.weight", Transposed),
    place("*.blocks.*.attention.out.weight", "*.block.*.layer.0.SelfAttention.o.weight", Transposed),
    place("*.blocks.*.cross_norm.weight", "*.block.*.layer.1.layer_norm.weight", Same),
    place("*.blocks.*.cross.query.weight", "*.block.*.layer.1.EncDecAttention.q.weight", Transposed),
    place("*.blocks.*.cross.key.weight", "*.block.*.layer.1.EncDecAttention.k.weight", Transposed),
    place("*.blocks.*.cross.value.weight", "*.block.*.layer.1.EncDecAttention.v.weight", Transposed),
    place("*.blocks.*.cross.out.weight", "*.block.*.layer.1.EncDecAttention.o.weight", Transposed),
    place("encoder.blocks.*.feedforward_norm.weight", "encoder.block.*.layer.1.layer_norm.weight", Same),
    place("decoder.blocks.*.feedforward_norm.weight", "decoder.block.*.layer.2.layer_norm.weight", Same),
    place("encoder.blocks.*.down.weight", "encoder.block.*.layer.1.DenseReluDense.wo.weight", Transposed),
    place("decoder.blocks.*.down.weight", "decoder.block.*.layer.2.DenseReluDense.wo.weight", Transposed),
    place("head.weight", "lm_head.weight", Transposed),
];

const T5_PLAIN: &[Place] = &[
    place("encoder.blocks.*.up.weight", "encoder.block.*.layer.1.DenseReluDense.wi.weight", Transposed),
    place("decoder.blocks.*.up.weight", "decoder.block.*.layer.2.DenseReluDense.wi.weight", Transposed),
];

const T5_GATED: &[Place] = &[
    place("encoder.blocks.*.gate.weight", "encoder.block.*.layer.1.DenseReluDense.wi_0.weight", Transposed),
    place("decoder.blocks.*.gate.weight", "decoder.block.*.layer.2.DenseReluDense.wi_0.weight", Transposed),
    place("encoder.blocks.*.up.weight", "encoder.block.*.layer.1.DenseReluDense.wi_1.weight", Transposed),
    place("decoder.blocks.*.up.weight", "decoder.block.*.layer.2.DenseReluDense.wi_1.weight", Transposed),
];

const VIT: &[Place] = &[
    place("patches.*", "@.embeddings.patch_embeddings.projection.*", Same),
    place("first", "@.embeddings.cls_token", Same),
    place("positions", "@.embeddings.position_embeddings", Same),
    place("norm.*", "@.layernorm.*", Same),
    place("blocks.*.attention_norm.*", "@.encoder.layer.*.layernorm_before.*", Same),
    place("blocks.*.query.*", "@.encoder.layer.*.attention.attention.query.*", Transposed),
    place("blocks.*.key.*", "@.encoder.layer.*.attention.attention.key.*", Transposed),
    place("blocks.*.value.*", "@.encoder.layer.*.attention.attention.value.*", Transposed),
    place("blocks.*.out.*", "@.encoder.layer.*.attention.output.dense.*", Transposed),
    place("blocks.*.feedforward_norm.*", "@.encoder.layer.*.layernorm_after.*", Same),
    place("blocks.*.up.*", "@.encoder.layer.*.intermediate.dense.*", Transposed),
    place("blocks.*.down.*", "@.encoder.layer.*.output.dense.*", Transposed),
    place("pooler.*", "@.pooler.dense.*", Transposed),
    place("classes.*", "classifier.*", Transposed),
];

impl Naming {
    #[cfg(test)]
    const ALL: [Naming; 9] = [
        Naming::Gpt2,
        Naming::Llama,
        Naming::Bert,
        Naming::Distilbert,
        Naming::Roberta,
        Naming::RobertaClasses,
        Naming::T5,
        Naming::T5Gated,
        Naming::Vit,
    ];

    fn places(self) -> [&'static [Place]; 2] {
        match self {
            Naming::Gpt2 => [GPT2, &[]],
            Naming::Llama => [LLAMA, &[]],
            Naming::Bert => [BERT, BERT_HEADS],
            Naming::Distilbert => [DISTILBERT, &[]],
            Naming::Roberta => [BERT, ROBERTA_HEADS],
            Naming::RobertaClasses => [BERT, ROBERTA_CLASSES],
            Naming::T5 => [T5, T5_PLAIN],
            Naming::T5Gated => [T5, T5_GATED],
            Naming::Vit => [VIT, &[]],
        }
    }

    /// What names in files may begin with and needn't: a bare backbone's lack it.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Naming::Gpt2 => "transformer.",
            Naming::Llama => "model.",
            Naming::Bert => "bert.",
            Naming::Distilbert => "distilbert.",
            Naming::Roberta | Naming::RobertaClasses => "roberta.",
            Naming::T5 | Naming::T5Gated => "",
            Naming::Vit => "vit.",
        }
    }

    /// The name in a file for a parameter's path, and how it lies there.
    pub(super) fn name(self, path: &str) -> Option<(String, Arrangement)> {
        self.places().into_iter().flatten().find_map(|place| {
            let stood = captures(place.own, path)?;
            let mut name = String::new();
            let mut stood = stood.into_iter();
            for (at, part) in place.file.split('*').enumerate() {
                if at > 0 {
                    name += stood.next()?;
                }
                name += part;
            }
            Some((name.replace('@', self.prefix().trim_end_matches('.')), place.form))
        })
    }

    /// The names under which a tensor of this name may lie in a file: files of a bare backbone lack the first part, and old ones
    /// name the numbers of a norm otherwise.
    pub(super) fn written(self, name: &str) -> Vec<String> {
        let bare = name.strip_prefix(self.prefix()).filter(|bare| *bare != name).map(str::to_string);
        let mut all: Vec<String> = std::iter::once(name.to_string()).chain(bare).collect();
        for (new, old) in [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")] {
            let older: Vec<String> =
                all.iter().filter_map(|name| Some(format!("{}{old}", name.strip_suffix(new)?))).collect();
            all.extend(older);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_parameters_have_one_place() {
        for kind in Naming::ALL {
            let mut seen = Vec::new();
            for place in kind.places().into_iter().flatten() {
                assert_eq!(place.own.matches('*').count(), place.file.matches('*').count(), "{}", place.own);
                let at = (place.file, if let Third(part) = place.form { part } else { 9 });
                assert!(!seen.contains(&at), "{}", place.file);
                seen.push(at);
            }
        }
        assert_eq!(
            Naming::Roberta.name("blocks.1.query.bias").unwrap().0,
            "roberta.encoder.layer.1.attention.self.query.bias"
        );
        assert_eq!(
            Naming::Llama.name("blocks.11.gate.weight").unwrap().0,
            "model.layers.11.mlp.gate_proj.weight"
        );
        assert_eq!(Naming::Gpt2.name("blocks.3.key.bias").unwrap().0, "transformer.h.3.attn.c_attn.bias");
    }
}
