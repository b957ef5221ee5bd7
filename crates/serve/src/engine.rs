//! What answers: a model with the ways it is asked. Rows, pictures and texts that are told apart go in batches; what writes texts or
//! reads them word by word works for one asker at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_learn::generate::{GenerateOptions, Generation, Stopped};
use kiln_learn::hub::{self, EncoderModel, HubModel, LanguageModel, Seq2SeqModel, VisionModel};
use kiln_learn::models::EncoderHead;
use kiln_learn::{Error, Prediction, Predictor, Preparation, Result, TaggedWord, lines};
use serde_json::{Value, json};

use crate::batch::{BatchOptions, Batcher};
use crate::metrics::ModelMetrics;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelTakes {
    /// Rows: cells by their columns' names, or numbers.
    Rows,
    /// Pictures.
    Pictures,
    /// Texts, of which it says something.
    Texts,
    /// Texts that it goes on with.
    Prompts,
    /// Series that it foresees.
    Series,
}

impl ModelTakes {
    /// As descriptions name it.
    pub fn name(self) -> &'static str {
        match self {
            ModelTakes::Rows => "rows",
            ModelTakes::Pictures => "pictures",
            ModelTakes::Texts => "texts",
            ModelTakes::Prompts => "prompts",
            ModelTakes::Series => "series",
        }
    }
}

/// How a text ended that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenText {
    /// How many pieces were written.
    pub pieces: usize,
    /// Whether it came to its end by itself.
    pub is_ended: bool,
}

/// Goes on with texts. What is added is said piece by piece, until there is no more or the listener has enough.
pub trait Speaks: Send + Sync {
    /// Goes on with a text.
    fn speak(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        say: &mut dyn FnMut(String) -> bool,
    ) -> Result<WrittenText>;
}

fn told(mut generation: Generation, say: &mut dyn FnMut(String) -> bool) -> Result<WrittenText> {
    for added in generation.by_ref() {
        if !say(added?) {
            break;
        }
    }
    let is_ended = generation.stopped() == Some(Stopped::Text);
    Ok(WrittenText { pieces: generation.codes().len(), is_ended })
}

impl Speaks for Predictor {
    fn speak(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        say: &mut dyn FnMut(String) -> bool,
    ) -> Result<WrittenText> {
        told(self.generate(prompt, options)?, say)
    }
}

impl Speaks for LanguageModel {
    fn speak(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        say: &mut dyn FnMut(String) -> bool,
    ) -> Result<WrittenText> {
        told(self.generate(prompt, options)?, say)
    }
}

impl Speaks for Mutex<Seq2SeqModel> {
    fn speak(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        say: &mut dyn FnMut(String) -> bool,
    ) -> Result<WrittenText> {
        let mut model = self.lock().unwrap_or_else(PoisonError::into_inner);
        told(model.generate(prompt, options)?, say)
    }
}

/// Says something of a text, for one asker at a time.
pub trait Reads: Send + Sync {
    /// What it says, as an object.
    fn read(&self, text: &str) -> Result<Value>;
}

/// Writes a text for another.
struct Pairs(Predictor);

impl Reads for Pairs {
    fn read(&self, text: &str) -> Result<Value> {
        let options = GenerateOptions::new().temperature(0.0);
        let written = self.0.predict_targets(&[text], &options)?;
        Ok(json!({ "prediction": written.first() }))
    }
}

/// Gives words tags.
struct Tags(Predictor);

impl Reads for Tags {
    fn read(&self, text: &str) -> Result<Value> {
        Ok(tagged(&self.0.predict_tags(&Predictor::words(text))?))
    }
}

fn tagged(words: &[TaggedWord]) -> Value {
    let word = |word: &TaggedWord| {
        let probability = lines::shortest(word.probability.into(), 1.0);
        json!({ "word": word.word, "tag": word.tag, "probability": probability })
    };
    json!({ "words": words.iter().map(word).collect::<Vec<_>>() })
}

impl Reads for EncoderModel {
    fn read(&self, text: &str) -> Result<Value> {
        match self.config().head {
            EncoderHead::StepClasses(_) => {
                let words = self.predict_tags([text], Default::default())?;
                Ok(tagged(words.first().map_or(&[], Vec::as_slice)))
            }
            EncoderHead::Classes(..)
            | EncoderHead::Steps
            | EncoderHead::Pooler
            | EncoderHead::Pieces { .. } => Ok(alone(self.predict([text])?)),
        }
    }
}

/// The one prediction of a model of a hub's folder, as an object.
pub fn alone(said: Vec<Prediction>) -> Value {
    said.first().map_or(Value::Null, |said| object(said, &lines::task(said)))
}

/// A prediction as an object: what is said, with probabilities and an interval where there are some.
pub fn object(said: &Prediction, task: &kiln_learn::model::Task) -> Value {
    let mut object = lines::object(None, said, task, 0);
    object.as_object_mut().map(|object| object.remove("row"));
    object
}

/// A model that answers.
pub enum Engine {
    /// In batches.
    Batches(Batcher),
    /// Goes on with texts.
    Speaks(Arc<dyn Speaks>),
    /// Reads texts.
    Reads(Arc<dyn Reads>),
    /// Sees pictures.
    Sees(Arc<VisionModel>),
    /// Foresees series.
    Foresees(Predictor),
}

/// A model that was read: what takes it, what it takes, and what there is to say of it.
pub struct Opened {
    /// Answers.
    pub engine: Engine,
    /// What it takes.
    pub takes: ModelTakes,
    /// What it says, for descriptions.
    pub classes: Vec<String>,
    /// The kind of model, for descriptions.
    pub platform: String,
}

impl Opened {
    fn new(engine: Engine, takes: ModelTakes, platform: impl Into<String>) -> Opened {
        Opened { engine, takes, classes: Vec::new(), platform: platform.into() }
    }
}

/// Reads a model and makes it ready: all programs are compiled, so that no answer waits for it.
///
/// # Errors
/// Where it can't be read, or is of a kind that isn't served.
pub fn open(path: &Path, batching: BatchOptions, metrics: &Arc<ModelMetrics>) -> Result<Opened> {
    if hub::is_model(path) {
        return open_hub(path);
    }
    let predictor = Predictor::load(path)?;
    let about = predictor.model().about();
    let layers = about.layers.clone();
    let classes = match &about.task {
        kiln_learn::model::Task::Classes { names } | kiln_learn::model::Task::Tags { names } => names.clone(),
        kiln_learn::model::Task::Numbers { .. }
        | kiln_learn::model::Task::Several { .. }
        | kiln_learn::model::Task::Text { .. } => Vec::new(),
    };
    let (takes, in_batches) = match &about.preparation {
        Preparation::Unsaid if about.is_unsaid() => {
            let message = about.preparation.takes(&about.input);
            return Err(Error::Format { path: path.to_path_buf(), message });
        }
        Preparation::Table(_) | Preparation::Unsaid => (ModelTakes::Rows, true),
        Preparation::Images(_) => (ModelTakes::Pictures, true),
        Preparation::Text(text) if text.columns.is_some() => (ModelTakes::Texts, true),
        Preparation::Text(_) => (ModelTakes::Prompts, false),
        Preparation::Tags(_) | Preparation::Pairs(_) => (ModelTakes::Texts, false),
        Preparation::Forecast(_) => (ModelTakes::Series, false),
    };
    let engine = match &about.preparation {
        _ if in_batches => {
            predictor.warm_up()?;
            Engine::Batches(Batcher::new(predictor, batching, metrics.clone())?)
        }
        Preparation::Tags(_) => Engine::Reads(Arc::new(Tags(predictor))),
        Preparation::Pairs(_) => Engine::Reads(Arc::new(Pairs(predictor))),
        Preparation::Forecast(_) => Engine::Foresees(predictor),
        Preparation::Text(_) | Preparation::Unsaid | Preparation::Table(_) | Preparation::Images(_) => {
            Engine::Speaks(Arc::new(predictor))
        }
    };
    Ok(Opened { classes, ..Opened::new(engine, takes, layers) })
}

fn open_hub(path: &Path) -> Result<Opened> {
    Ok(match hub::open(path)? {
        HubModel::Language(model) => {
            Opened::new(Engine::Speaks(Arc::new(*model)), ModelTakes::Prompts, "language model")
        }
        HubModel::Seq2Seq(model) => {
            Opened::new(Engine::Speaks(Arc::new(Mutex::new(*model))), ModelTakes::Prompts, "encoder-decoder")
        }
        HubModel::Encoder(model) => match model.config().head {
            EncoderHead::Classes(..) | EncoderHead::StepClasses(_) => {
                let classes = model.labels().to_vec();
                Opened {
                    classes,
                    ..Opened::new(Engine::Reads(Arc::new(*model)), ModelTakes::Texts, "encoder")
                }
            }
            EncoderHead::Steps | EncoderHead::Pooler | EncoderHead::Pieces { .. } => {
                let message = "the encoder tells no classes apart, and what texts mean to it isn't served";
                return Err(Error::Format { path: path.to_path_buf(), message: message.into() });
            }
        },
        HubModel::Vision(model) => {
            let classes = model.labels().to_vec();
            Opened {
                classes,
                ..Opened::new(Engine::Sees(Arc::from(model)), ModelTakes::Pictures, "vision transformer")
            }
        }
    })
}
