//! What a GGUF file says of its decoder, in the words of a hub's `config.json`, which is then read as such; and the same of a decoder that is
//! written.

use kiln_map::shown;
use kiln_nn::Activation;
use kiln_nn::models::{DecoderConfig, RotaryScaling};
use serde_json::{Map, Value, json};

use super::file::{GgufFile, GgufValue};
use crate::Result;
use crate::hub::config::divides;

/// The kinds of models that are read, as files name them.
const KINDS: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma", "gpt2"];

/// What a file says of its model, below the name of its kind.
struct ModelMetadata<'f> {
    file: &'f GgufFile,
    kind: &'f str,
}

impl ModelMetadata<'_> {
    fn value(&self, name: &str) -> Option<(String, &GgufValue)> {
        let name = format!("{}.{name}", self.kind);
        self.file.value(&name).map(|value| (name, value))
    }

    fn count(&self, name: &str) -> Result<Option<u64>> {
        match self.value(name) {
            None => Ok(None),
            Some((_, &GgufValue::Whole(count))) if (1..1 << 31).contains(&count) => Ok(Some(count as u64)),
            Some((name, value)) => Err(self.file.fault(match value {
                GgufValue::Wholes(_) | GgufValue::Numbers(_) | GgufValue::Texts(_) => {
                    format!("{name} differs from block to block, which kiln doesn't compute")
                }
                GgufValue::Whole(_) | GgufValue::Number(_) | GgufValue::Flag(_) | GgufValue::Text(_) => {
                    format!("{name} is {}, and should be a whole number from 1", super::printed(value))
                }
            })),
        }
    }

    fn needed(&self, name: &str) -> Result<u64> {
        let missing = || self.file.fault(format!("it doesn't say {}.{name}", self.kind));
        self.count(name)?.ok_or_else(missing)
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        match self.value(name) {
            None => Ok(None),
            Some((_, &GgufValue::Number(number))) if number.is_finite() => Ok(Some(number)),
            Some((_, &GgufValue::Whole(number))) => Ok(Some(number as f64)),
            Some((name, value)) => {
                Err(self.file.fault(format!("{name} is {}, and should be a number", super::printed(value))))
            }
        }
    }

    fn has(&self, tensor: &str) -> bool {
        self.file.tensor(tensor).is_some()
    }
}

/// What `config.json` would hold, with the kind of the file.
pub(super) fn described(file: &GgufFile) -> Result<(String, Map<String, Value>)> {
    let kind = match file.value("general.architecture") {
        Some(GgufValue::Text(kind)) => kind.clone(),
        _ => return Err(file.fault("it doesn't say which general.architecture the model is of")),
    };
    if !KINDS.contains(&kind.as_str()) {
        return Err(
            file.fault(format!("its general.architecture is \"{kind}\"; kiln reads {}", KINDS.join(", ")))
        );
    }
    let about = ModelMetadata { file, kind: &kind };
    let vocabulary = file.tensor("token_embd.weight").and_then(|tensor| tensor.shape.first().copied());
    let vocabulary = match vocabulary {
        None => return Err(file.fault("there is no token_embd.weight")),
        Some(0) => return Err(file.fault("token_embd.weight has no rows")),
        Some(vocabulary) => vocabulary,
    };
    if let Some(experts) = about.count("expert_count")? {
        return Err(file.fault(format!("the model mixes {experts} experts, which kiln doesn't compute")));
    }
    let mut config = Map::new();
    let mut put = |name: &str, value: Value| config.insert(name.to_string(), value);
    put("model_type", kind.as_str().into());
    put("vocab_size", vocabulary.into());
    put("tie_word_embeddings", (!about.has("output.weight")).into());
    for (name, key) in [("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")] {
        if let Some(&GgufValue::Whole(code)) = file.value(&format!("tokenizer.ggml.{key}")) {
            put(name, json!(code as i64));
        }
    }
    let ends: Vec<i64> = ["eos_token_id", "eot_token_id"]
        .iter()
        .filter_map(|key| match file.value(&format!("tokenizer.ggml.{key}")) {
            Some(&GgufValue::Whole(code)) => Some(code as i64),
            _ => None,
        })
        .collect();
    put("eos_token_id", json!(ends));
    match kind.as_str() {
        "gpt2" => gpt2(&about, &mut config)?,
        _ => llama(&about, &mut config)?,
    }
    Ok((kind, config))
}

fn gpt2(about: &ModelMetadata, config: &mut Map<String, Value>) -> Result<()> {
    let mut put = |name: &str, value: Value| config.insert(name.to_string(), value);
    put("n_embd", about.needed("embedding_length")?.into());
    put("n_head", about.needed("attention.head_count")?.into());
    put("n_layer", about.needed("block_count")?.into());
    put("n_positions", about.needed("context_length")?.into());
    if let Some(inner) = about.count("feed_forward_length")? {
        put("n_inner", inner.into());
    }
    if let Some(epsilon) = about.number("attention.layer_norm_epsilon")? {
        put("layer_norm_epsilon", single(epsilon));
    }
    Ok(())
}

fn llama(about: &ModelMetadata, config: &mut Map<String, Value>) -> Result<()> {
    let file = about.file;
    let (width, heads) = (about.needed("embedding_length")?, about.needed("attention.head_count")?);
    let head_width = match about.count("attention.key_length")? {
        Some(head_width) => head_width,
        None => divides(width as usize, heads as usize).map_err(|message| file.fault(message))? as u64,
    };
    if about.count("attention.value_length")?.is_some_and(|width| width != head_width) {
        return Err(file.fault("values of its heads have other widths than keys, which kiln doesn't compute"));
    }
    let turned = about.count("rope.dimension_count")?.unwrap_or(head_width);
    let mut put = |name: &str, value: Value| config.insert(name.to_string(), value);
    if turned != head_width {
        if about.kind == "llama" {
            return Err(file.fault(format!(
                "{turned} of {head_width} features of a head are turned, which kiln doesn't compute of this kind"
            )));
        }
        put("partial_rotary_factor", (turned as f64 / head_width as f64).into());
    }
    put("hidden_size", width.into());
    put("num_attention_heads", heads.into());
    put("num_key_value_heads", about.count("attention.head_count_kv")?.unwrap_or(heads).into());
    put("head_dim", head_width.into());
    put("intermediate_size", about.needed("feed_forward_length")?.into());
    put("num_hidden_layers", about.needed("block_count")?.into());
    put("max_position_embeddings", about.needed("context_length")?.into());
    if let Some(epsilon) = about.number("attention.layer_norm_rms_epsilon")? {
        put("rms_norm_eps", single(epsilon));
    }
    put("attention_bias", about.has("blk.0.attn_q.bias").into());
    put("mlp_bias", about.has("blk.0.ffn_gate.bias").into());
    if about.kind == "llama"
        && let Some(window) = about.count("attention.sliding_window")?
    {
        put("model_type", "mistral".into());
        put("sliding_window", window.into());
    }
    let mut rope = Map::new();
    rope.insert("rope_theta".to_string(), about.number("rope.freq_base")?.map_or(10_000.0.into(), single));
    let scaling = match about.value("rope.scaling.type") {
        Some((_, GgufValue::Text(kind))) if kind != "none" => Some(kind.clone()),
        _ => about.number("rope.scale_linear")?.map(|_| "linear".to_string()),
    };
    if let Some(kind) = scaling.as_deref().filter(|kind| *kind != "linear") {
        return Err(file.fault(format!(
            "{}.rope.scaling.type is {}; kiln computes none, linear and Llama 3's rope_freqs.weight",
            about.kind,
            shown(kind)
        )));
    }
    rope.insert("rope_type".to_string(), scaling.as_deref().unwrap_or("default").into());
    if scaling.is_some() {
        let factor = about.number("rope.scaling.factor")?.or(about.number("rope.scale_linear")?);
        rope.insert("factor".to_string(), single(factor.unwrap_or(1.0)));
    }
    if let Some(factors) = file.tensor("rope_freqs.weight") {
        let factors = super::numbers(file, factors)?;
        let base = about.number("rope.freq_base")?.unwrap_or(10_000.0);
        let places = about.count("rope.scaling.original_context_length")?.map(|places| places as usize);
        let found = super::factors::llama3(&factors, head_width as usize, base, places).ok_or_else(|| {
            file.fault("its rotary positions are scaled by rope_freqs.weight in a way that isn't Llama 3's")
        })?;
        rope.extend(found);
    }
    put("rope_parameters", Value::Object(rope));
    Ok(())
}

/// What a file says of a decoder, under the kind that files name; the other way round than [`described`].
pub(super) fn metadata(
    kind: &str,
    config: &DecoderConfig,
    window: usize,
) -> std::result::Result<Vec<(String, GgufValue)>, String> {
    let block = &config.block;
    let usual = if matches!(kind, "gpt2" | "gemma") { Activation::GeluTanh } else { Activation::Silu };
    if block.activation != usual {
        let (own, usual) = (block.activation, usual);
        return Err(format!(
            "a GGUF file of {kind} says no activation but {usual:?}, and the model's is {own:?}"
        ));
    }
    let whole = |count: usize| GgufValue::Whole(count as i128);
    let number = |name: &'static str, number: f64| match single(number) == number {
        true => Ok((name, GgufValue::Number(number))),
        false => Err(format!("a GGUF file can't say {kind}.{name} {number}: it keeps seven digits")),
    };
    let mut said = vec![
        ("context_length", whole(window)),
        ("embedding_length", whole(config.width)),
        ("block_count", whole(config.blocks)),
        ("feed_forward_length", whole(block.feedforward)),
        ("attention.head_count", whole(block.heads)),
        ("vocab_size", whole(config.vocabulary)),
    ];
    if kind == "gpt2" {
        said.push(number("attention.layer_norm_epsilon", block.epsilon)?);
    } else {
        said.push(number("attention.layer_norm_rms_epsilon", block.epsilon)?);
        said.push(("attention.head_count_kv", whole(block.kv_heads)));
        said.push(("attention.key_length", whole(block.head_width)));
        said.push(("attention.value_length", whole(block.head_width)));
    }
    said.extend(block.window.map(|window| ("attention.sliding_window", whole(window))));
    if let Some(rotary) = &block.rotary {
        said.push(("rope.dimension_count", whole(rotary.width)));
        said.push(number("rope.freq_base", rotary.base)?);
        if kind == "llama" && rotary.width != block.head_width {
            return Err("a GGUF file of llama can't say that features of a head aren't turned".to_string());
        }
        match rotary.scaling {
            RotaryScaling::Plain => {}
            RotaryScaling::Linear(factor) => {
                said.push(("rope.scaling.type", GgufValue::Text("linear".to_string())));
                said.push(number("rope.scaling.factor", factor)?);
            }
            // The rest of it is a tensor.
            RotaryScaling::Llama3 { original, .. } => {
                said.push(("rope.scaling.original_context_length", whole(original)));
            }
        }
    }
    let architecture = ("general.architecture".to_string(), GgufValue::Text(kind.to_string()));
    let named = said.into_iter().map(|(name, value)| (format!("{kind}.{name}"), value));
    Ok(std::iter::once(architecture).chain(named).collect())
}

/// The kind under which files have a model of this `model_type`.
pub(super) fn kind_of(model_type: &str) -> &str {
    if model_type == "mistral" { "llama" } else { model_type }
}

/// A number that was written in single precision with the digits that it was meant with.
fn single(number: f64) -> Value {
    format!("{}", number as f32).parse::<f64>().unwrap_or(number).into()
}
