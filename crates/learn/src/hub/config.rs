//! What `config.json` says of a decoder, in kiln's words.

use kiln_nn::Activation;
use kiln_nn::models::{BlockOptions, DecoderConfig, DecoderNorm, Rotary, RotaryScaling};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::names::Naming;

/// What was read.
pub(super) struct ReadConfig {
    pub kind: Naming,
    pub config: DecoderConfig,
    /// Pieces that are seen at once.
    pub window: usize,
    /// Codes that end a text.
    pub ends: Vec<u32>,
}

/// The kinds of models that are read.
pub(super) const KINDS: [&str; 6] = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma"];

/// A decoder as a configuration says it.
pub(super) fn read(object: &Map<String, Value>) -> Result<ReadConfig, String> {
    let fields = Fields(object);
    let name = fields.text_or("model_type", "")?;
    let ends = object.get("eos_token_id").map(codes).unwrap_or_default();
    let (kind, config, window) = match name {
        "gpt2" => gpt2(&fields)?,
        "llama" | "mistral" | "qwen2" | "qwen3" | "gemma" => llama(name, &fields)?,
        "" => return Err("it doesn't say which \"model_type\" the model is of".to_string()),
        _ => return Err(format!("its \"model_type\" is \"{name}\"; kiln reads {}", KINDS.join(", "))),
    };
    Ok(ReadConfig { kind, config, window, ends })
}

/// The codes that a number or a list of them is.
pub(super) fn codes(value: &Value) -> Vec<u32> {
    let code = |value: &Value| value.as_u64().and_then(|code| u32::try_from(code).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(code).collect(),
        one => code(one).into_iter().collect(),
    }
}

fn gpt2(fields: &Fields) -> Result<(Naming, DecoderConfig, usize), String> {
    let (width, heads) = (fields.count("n_embd")?, fields.count("n_head")?);
    let steps = fields.count_or("n_positions", fields.count_or("n_ctx", 1024)?)?;
    for (name, usual) in [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false)] {
        if fields.flag_or(name, usual)? != usual {
            return Err(format!("\"{name}\" is {}, which kiln doesn't compute", !usual));
        }
    }
    let config =
        DecoderConfig::gpt(fields.count("vocab_size")?, width, fields.count("n_layer")?, heads, steps);
    divides(width, heads)?;
    let block = BlockOptions {
        feedforward: fields.count_or("n_inner", 4 * width)?,
        epsilon: fields.number_or("layer_norm_epsilon", 1e-5)?,
        activation: activation(fields.text_or("activation_function", "gelu_new")?)?,
        ..config.block
    };
    let tied = fields.flag_or("tie_word_embeddings", true)?;
    Ok((Naming::Gpt2, DecoderConfig { block, tied, ..config }, steps))
}

fn llama(name: &str, fields: &Fields) -> Result<(Naming, DecoderConfig, usize), String> {
    let (width, heads) = (fields.count("hidden_size")?, fields.count("num_attention_heads")?);
    let head_width = match fields.known("head_dim") {
        Some(_) => fields.count("head_dim")?,
        None => divides(width, heads)?,
    };
    let window = fields.count_or("max_position_embeddings", 2048)?;
    let is_gemma = name == "gemma";
    if fields.flag_or("use_sliding_window", false)? {
        return Err("attention slides in some of its blocks alone, which kiln doesn't compute".to_string());
    }
    let slides = name == "mistral" && fields.known("sliding_window").is_some();
    let biased = fields.flag_or("attention_bias", name == "qwen2")?;
    let block = BlockOptions {
        kv_heads: fields.count_or("num_key_value_heads", heads)?,
        head_width,
        feedforward: fields.count("intermediate_size")?,
        norm: if is_gemma { DecoderNorm::RmsFromOne } else { DecoderNorm::Rms },
        epsilon: fields.number_or("rms_norm_eps", 1e-6)?,
        head_norms: name == "qwen3",
        activation: match is_gemma {
            // Gemma's first files said another function than it was trained with.
            true => activation(fields.text_or("hidden_activation", "gelu_pytorch_tanh")?)?,
            false => activation(fields.text_or("hidden_act", "silu")?)?,
        },
        biases: [biased, biased && name != "qwen2", fields.flag_or("mlp_bias", false)?],
        rotary: Some(rotary(fields, head_width)?),
        window: if slides { Some(fields.count("sliding_window")?) } else { None },
        ..BlockOptions::new(width, heads)
    };
    let config = DecoderConfig {
        block,
        tied: fields.flag_or("tie_word_embeddings", is_gemma)?,
        embedding_scale: if is_gemma { (width as f64).sqrt() } else { 1.0 },
        ..DecoderConfig::llama(fields.count("vocab_size")?, width, fields.count("num_hidden_layers")?, heads)
    };
    Ok((Naming::Llama, config, window))
}

/// How queries and keys are turned. Newer files have all of it under `rope_parameters`, older ones beside each other.
fn rotary(fields: &Fields, head_width: usize) -> Result<Rotary, String> {
    let empty = Map::new();
    let inner = ["rope_parameters", "rope_scaling"].iter().find_map(|name| fields.known(name)?.as_object());
    let scaling = Fields(inner.unwrap_or(&empty));
    let base = scaling.number_or("rope_theta", fields.number_or("rope_theta", 10_000.0)?)?;
    let share =
        scaling.number_or("partial_rotary_factor", fields.number_or("partial_rotary_factor", 1.0)?)?;
    let width = (head_width as f64 * share) as usize;
    let fits = (1..=head_width).contains(&width) && width.is_multiple_of(2);
    if !fits || !base.is_finite() || base <= 0.0 {
        return Err(format!(
            "{width} of {head_width} features of a head can't be turned in pairs at base {base}"
        ));
    }
    let kind = scaling.text_or("rope_type", scaling.text_or("type", "default")?)?;
    let factor = scaling.number_or("factor", 1.0)?;
    let scaling = match kind {
        "default" => RotaryScaling::Plain,
        "linear" => RotaryScaling::Linear(factor),
        "llama3" => RotaryScaling::Llama3 {
            factor,
            low: scaling.number_or("low_freq_factor", 1.0)?,
            high: scaling.number_or("high_freq_factor", 4.0)?,
            original: scaling.count("original_max_position_embeddings")?,
        },
        _ => {
            return Err(format!(
                "its rotary positions are scaled as \"{kind}\"; kiln computes default, linear and llama3"
            ));
        }
    };
    Ok(Rotary { width, base, scaling })
}

pub(super) fn divides(width: usize, heads: usize) -> Result<usize, String> {
    match width.is_multiple_of(heads) {
        true => Ok(width / heads),
        false => Err(format!("{width} features don't divide among {heads} heads")),
    }
}

pub(super) fn activation(name: &str) -> Result<Activation, String> {
    Ok(match name {
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "gelu" => Activation::Gelu,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        _ => return Err(format!("the activation \"{name}\" isn't one that kiln knows")),
    })
}
