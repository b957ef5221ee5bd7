//! What `config.json` says of an encoder of texts, in kiln's words.

use kiln_nn::Activation;
use kiln_nn::models::{EncoderBlockOptions, EncoderConfig, EncoderHead};
use serde_json::{Map, Value};

use crate::hub::config::{activation, divides};
use crate::hub::fields::Fields;
use crate::hub::names::Naming;

/// What was read.
pub(super) struct ReadEncoder {
    pub naming: Naming,
    pub config: EncoderConfig,
    /// The code of padding.
    pub padding: i64,
    pub labels: Vec<String>,
    pub meaning: ClassMeaning,
}

/// What the logits of classes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum ClassMeaning {
    /// One class is right.
    One,
    /// Each class is right or not.
    Each,
    /// They are numbers.
    Numbers,
}

impl ClassMeaning {
    /// By what a configuration says of so many classes.
    pub(in crate::hub) fn of(fields: &Fields, classes: usize) -> Result<ClassMeaning, String> {
        Ok(match (fields.text_or("problem_type", "")?, classes) {
            ("regression", _) | ("", 1) => ClassMeaning::Numbers,
            ("multi_label_classification", _) => ClassMeaning::Each,
            ("" | "single_label_classification", _) => ClassMeaning::One,
            (other, _) => return Err(format!("\"problem_type\" is \"{other}\", which kiln doesn't know")),
        })
    }
}

/// The kinds of encoders that are read.
pub(in crate::hub) const KINDS: [&str; 3] = ["bert", "distilbert", "roberta"];

/// An encoder as a configuration says it. A bare backbone has a pooler where the file has one.
pub(super) fn read(object: &Map<String, Value>, has_pooler: bool) -> Result<ReadEncoder, String> {
    let fields = Fields(object);
    let kind = fields.text_or("model_type", "")?;
    for name in ["is_decoder", "add_cross_attention"] {
        if fields.flag_or(name, false)? {
            return Err(format!("\"{name}\" is true, which kiln doesn't compute of an encoder"));
        }
    }
    let positions = fields.text_or("position_embedding_type", "absolute")?;
    if positions != "absolute" {
        return Err(format!("\"position_embedding_type\" is \"{positions}\"; kiln computes absolute"));
    }
    let labels = labels(&fields)?;
    let (head, is_roberta_classes) = head(&fields, kind, labels.len(), has_pooler)?;
    let naming = match kind {
        "distilbert" => Naming::Distilbert,
        "roberta" if is_roberta_classes => Naming::RobertaClasses,
        "roberta" => Naming::Roberta,
        _ => Naming::Bert,
    };
    let (width, layers, heads, middle, act) = match kind {
        "distilbert" => ("dim", "n_layers", "n_heads", "hidden_dim", "activation"),
        _ => ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    };
    let (width, heads) = (fields.count(width)?, fields.count(heads)?);
    divides(width, heads)?;
    let padding = fields.code_or("pad_token_id", u32::from(kind == "roberta"))?;
    let [dropout, attention] = match kind {
        "distilbert" => ["dropout", "attention_dropout"],
        _ => ["hidden_dropout_prob", "attention_probs_dropout_prob"],
    };
    let block = EncoderBlockOptions {
        feedforward: fields.count(middle)?,
        activation: activation(fields.text_or(act, "gelu")?)?,
        epsilon: fields.number_or("layer_norm_eps", 1e-12)?,
        dropout: fields.share_or(dropout, 0.1)?,
        attention_dropout: fields.share_or(attention, 0.1)?,
        ..EncoderBlockOptions::new(width, heads)
    };
    let config = EncoderConfig {
        block,
        first_position: if kind == "roberta" { padding as usize + 1 } else { 0 },
        token_types: if kind == "distilbert" { 0 } else { fields.count_or("type_vocab_size", 2)? },
        head,
        ..EncoderConfig::bert(
            fields.count("vocab_size")?,
            width,
            fields.count(layers)?,
            heads,
            fields.count_or("max_position_embeddings", 512)?,
        )
    };
    if config.window() == 0 {
        return Err(format!(
            "\"max_position_embeddings\" is {}, and padding takes all of them",
            config.positions
        ));
    }
    let meaning = ClassMeaning::of(&fields, labels.len())?;
    Ok(ReadEncoder { naming, config, padding: padding.into(), labels, meaning })
}

/// The names of classes, in their order.
pub(in crate::hub) fn labels(fields: &Fields) -> Result<Vec<String>, String> {
    let Some(names) = fields.known("id2label") else {
        let count = fields.count_or("num_labels", 2)?;
        return Ok((0..count.min(MOST_LABELS)).map(|class| format!("LABEL_{class}")).collect());
    };
    let names =
        names.as_object().ok_or_else(|| format!("\"id2label\" is {names}, and should be an object"))?;
    let name = |class: usize| {
        let name = names.get(&class.to_string()).and_then(Value::as_str).map(str::to_string);
        name.ok_or_else(|| format!("\"id2label\" has {} names, and none for class {class}", names.len()))
    };
    match names.is_empty() {
        true => Err("\"id2label\" names no class".to_string()),
        false => (0..names.len()).map(name).collect(),
    }
}

/// No model that doesn't name them tells more classes apart.
const MOST_LABELS: usize = 100_000;

/// What stands on the last block, by the name of the architecture; and whether that is RoBERTa's for classes of texts.
fn head(
    fields: &Fields,
    kind: &str,
    classes: usize,
    has_pooler: bool,
) -> Result<(EncoderHead, bool), String> {
    let architectures = fields.known("architectures").and_then(Value::as_array);
    let name = architectures.and_then(|names| names.first()).and_then(Value::as_str).unwrap_or("Model");
    let family = match kind {
        "distilbert" => "DistilBert",
        "roberta" => "Roberta",
        _ => "Bert",
    };
    let first = if kind == "distilbert" { Activation::Relu } else { Activation::Tanh };
    Ok(match name.strip_prefix(family).unwrap_or(name) {
        "Model" if has_pooler => (EncoderHead::Pooler, false),
        "Model" => (EncoderHead::Steps, false),
        "ForSequenceClassification" => (EncoderHead::Classes(classes, first), kind == "roberta"),
        "ForTokenClassification" => (EncoderHead::StepClasses(classes), false),
        "ForMaskedLM" => (EncoderHead::Pieces { tied: fields.flag_or("tie_word_embeddings", true)? }, false),
        _ => {
            return Err(format!(
                "its \"architectures\" say \"{name}\"; kiln reads {family}Model, {family}ForSequenceClassification, \
                 {family}ForTokenClassification and {family}ForMaskedLM"
            ));
        }
    })
}
