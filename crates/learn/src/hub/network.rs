//! Encoders of texts that another system wrote as an ONNX file, with their `tokenizer.json` beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::Tokenizer;
use kiln_map::counted;
use kiln_nn::{Compiled, Context, DType, Function, Input, Tensor};
use kiln_onnx::{Network, OnnxDType, Port, Value};
use serde_json::{Map, Value as Json};

use super::encoder::config::{ClassMeaning, labels};
use super::fields::Fields;
use super::folder::{self, TOKENIZER};
use super::texts::{TextPair, coded};
use super::{CONFIG, classes};
use crate::embeddings::{Embeddings, mean_of_steps};
use crate::predictor::Prediction;
use crate::text_rows::{CodedText, TextPrograms, TextRows, each_text};
use crate::{Error, Result};

/// A network of an ONNX file that takes texts: codes, which of them are no padding, and of which of two texts each is. Its
/// `tokenizer.json` stands beside it or in the folder around; what classes are called and how many pieces it sees says a `config.json` there.
///
/// ```no_run
/// use kiln::hub::TextNetwork;
///
/// let network = TextNetwork::open("reviews/model.onnx")?;
/// println!("{:?}", network.predict(["a fine film"])?[0].class());
/// # Ok::<(), kiln::Error>(())
/// ```
pub struct TextNetwork {
    network: Network,
    /// What each of its inputs is, and in which type.
    inputs: Vec<(TextInput, OnnxDType)>,
    /// Which of its outputs are logits of classes, and which is a row for each piece.
    answers: Option<usize>,
    steps: Option<usize>,
    /// How many pieces it sees at most.
    window: usize,
    /// Whether it takes only rows of that length.
    is_fixed: bool,
    tokenizer: Tokenizer,
    padding: i64,
    labels: Option<Arc<[String]>>,
    meaning: ClassMeaning,
    programs: TextPrograms,
}

/// What an input of such a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextInput {
    Codes,
    Mask,
    Types,
}

/// The names of inputs.
const INPUTS: [(&str, TextInput); 3] = [
    ("input_ids", TextInput::Codes),
    ("attention_mask", TextInput::Mask),
    ("token_type_ids", TextInput::Types),
];

/// What a network sees that says nothing of it.
const WINDOW: usize = 512;

/// No network takes rows of more pieces.
const LONGEST: usize = 1 << 20;

impl TextNetwork {
    /// Whether an ONNX file has a tokenizer beside it, or in the folder around.
    pub fn is_file(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        path.extension().is_some_and(|end| end.eq_ignore_ascii_case("onnx"))
            && beside(path, TOKENIZER).is_some()
    }

    /// Of an ONNX file.
    ///
    /// # Errors
    /// Where it is missing, damaged or has operators that aren't known, where there is no `tokenizer.json`, and where it takes something else
    /// than texts.
    pub fn open(path: impl AsRef<Path>) -> Result<TextNetwork> {
        let path = path.as_ref();
        let fault = |message: String| Error::format(path, message);
        let tokenizer = beside(path, TOKENIZER).ok_or_else(|| {
            fault(format!("there is no {TOKENIZER} beside it, so no text becomes what it takes"))
        })?;
        let tokenizer = Tokenizer::read(tokenizer)?;
        let config = beside(path, CONFIG);
        let described = config.as_deref().map(folder::object).transpose()?.unwrap_or_default();
        let read = described_text(&described)
            .map_err(|message| Error::format(config.as_deref().unwrap_or(path), message))?;
        let network = kiln_onnx::load(path)?;
        let inputs: Vec<(TextInput, OnnxDType)> =
            network.inputs().iter().map(input).collect::<std::result::Result<_, _>>().map_err(fault)?;
        let fixed = network.inputs().first().and_then(|port| port.sizes.get(1).copied().flatten());
        if let Some(steps) = fixed.filter(|steps| !(1..=LONGEST).contains(steps)) {
            return Err(fault(format!(
                "it takes texts of {}, and kiln runs 1 to {LONGEST}",
                counted(steps, "piece")
            )));
        }
        if let Some(count) = network.inputs().iter().find_map(|port| port.sizes.first().copied().flatten()) {
            let texts = counted(count, "text");
            return Err(fault(format!(
                "it takes {texts} at a time and no other number; export it with a free batch"
            )));
        }
        let outputs = network.outputs();
        let of_axes = |count: usize, name: &str| {
            let fits = |port: &Port| port.sizes.len() == count;
            let named = outputs.iter().position(|port| port.name == name && fits(port));
            named.or_else(|| {
                outputs.iter().position(|port| fits(port) && !OTHERS.contains(&port.name.as_str()))
            })
        };
        Ok(TextNetwork {
            inputs,
            answers: of_axes(2, "logits"),
            steps: of_axes(3, "last_hidden_state"),
            window: fixed.or(read.window).unwrap_or(WINDOW),
            is_fixed: fixed.is_some(),
            network,
            padding: read.padding.or(tokenizer.padding()).unwrap_or(0).into(),
            tokenizer,
            labels: read.labels.map(Arc::from),
            meaning: read.meaning,
            programs: TextPrograms::default(),
        })
    }

    /// What it says of texts, or of pairs of them; see [`EncoderModel::predict`](super::EncoderModel::predict).
    ///
    /// # Errors
    /// Where it gives no logits of classes, or can't be computed.
    pub fn predict<'t>(
        &self,
        texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>,
    ) -> Result<Vec<Prediction>> {
        let output = self.answers.ok_or_else(|| {
            self.lacks("logits of classes [texts, classes], so it says of no text what it is; it embeds them (--embed)")
        })?;
        let texts = coded(&self.tokenizer, self.window, texts)?;
        let mut said: Vec<Option<Result<Prediction>>> = texts.iter().map(|_| None).collect();
        self.each(output, "answers", &texts, |text, logits| said[text] = Some(self.said(logits)))?;
        said.into_iter().flatten().collect()
    }

    fn said(&self, logits: &[f32]) -> Result<Prediction> {
        let numbered = || (0..logits.len()).map(|class| class.to_string()).collect::<Arc<[String]>>();
        let names = self.labels.clone().unwrap_or_else(numbered);
        match names.len() == logits.len() {
            true => Ok(classes::said(logits, &names, self.meaning)),
            false => Err(Error::Preparation(format!(
                "the network gives {} of a text, and {CONFIG} beside it names {}",
                counted(logits.len(), "number"),
                counted(names.len(), "class")
            ))),
        }
    }

    /// What texts, or pairs of them, mean: the mean over the pieces of each of the rows that the network gives for them.
    ///
    /// # Errors
    /// Where it gives no row for each piece, or can't be computed.
    pub fn embed<'t>(&self, texts: impl IntoIterator<Item = impl Into<TextPair<'t>>>) -> Result<Embeddings> {
        let output = self.steps.ok_or_else(|| {
            self.lacks("a row for each piece [texts, pieces, width], of which an embedding is the mean")
        })?;
        let texts = coded(&self.tokenizer, self.window, texts)?;
        let (mut all, mut width) = (vec![Vec::new(); texts.len()], 0);
        let steps_of = |texts: &[CodedText], text: usize| texts[text].codes.len();
        self.each(output, "steps", &texts, |text, steps| {
            // Padding stands behind the pieces.
            let (steps, places) = (&steps[1..], steps[0] as usize);
            width = steps.len() / places.max(1);
            all[text] = mean_of_steps(steps, width, steps_of(&texts, text));
        })?;
        Ok(Embeddings::new(all.concat(), width))
    }

    fn lacks(&self, what: &str) -> Error {
        let outputs: Vec<String> = self.network.outputs().into_iter().map(|port| port.name).collect();
        Error::Preparation(format!("the network gives {}, and not {what}", outputs.join(", ")))
    }

    /// Runs texts; `see` gets what the output has of each, of one with rows for pieces behind the number of those rows.
    fn each(
        &self,
        output: usize,
        what: &'static str,
        texts: &[CodedText],
        see: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let run = |rows: &TextRows| {
            let wide;
            let rows = match self.is_fixed && rows.steps < self.window {
                true => {
                    wide = rows.widened(self.window, self.padding);
                    &wide
                }
                false => rows,
            };
            let program = self.programs.get(what, rows, || self.compile(output, rows))?;
            let shape = [rows.rows, rows.steps];
            let given: Vec<Input> =
                self.inputs.iter().map(|(input, _)| Input::new(input.of(rows), &shape)).collect();
            let found = program.run(&given)?;
            let found = found.first().and_then(|found| found.as_slice::<f32>()).unwrap_or_default();
            if what == "answers" {
                return Ok(found.to_vec());
            }
            let each = found.chunks((found.len() / rows.rows.max(1)).max(1));
            Ok(each.flat_map(|row| std::iter::once(rows.steps as f32).chain(row.iter().copied())).collect())
        };
        each_text(texts, self.window, self.padding, run, see)
    }

    fn compile(&self, output: usize, rows: &TextRows) -> Result<Compiled> {
        // What it can't compute is said with the node, before anything is compiled.
        let compute = |inputs: &[Tensor]| {
            let value = |(tensor, (_, element)): (&Tensor, &(TextInput, OnnxDType))| {
                Value::Numbers(tensor.cast(element.dtype().unwrap_or(DType::I64)), *element)
            };
            let values = inputs.iter().zip(&self.inputs).map(value).collect();
            self.network.run(values, &Context::inference())
        };
        let blank: Vec<Tensor> =
            self.inputs.iter().map(|_| Tensor::zeros([rows.rows, rows.steps]).cast(DType::I64)).collect();
        compute(&blank)?;
        let mut function = Function::inference_many(&self.network, |_, _, inputs| {
            let found = compute(inputs).ok().and_then(|found| found.into_iter().nth(output));
            vec![match found {
                Some(Value::Numbers(tensor, _)) => tensor.cast(DType::F32),
                _ => Tensor::zeros([0]),
            }]
        });
        let input = |_: &(TextInput, OnnxDType)| ([rows.rows, rows.steps].into(), DType::I64);
        Ok(function.compile(&self.inputs.iter().map(input).collect::<Vec<_>>())?)
    }
}

impl fmt::Debug for TextNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextNetwork")
            .field("inputs", &self.inputs)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Outputs that are of a whole text and no logits.
const OTHERS: [&str; 2] = ["pooler_output", "sentence_embedding"];

impl TextInput {
    fn of(self, rows: &TextRows) -> &[i64] {
        match self {
            TextInput::Codes => &rows.codes,
            TextInput::Mask => &rows.mask,
            TextInput::Types => &rows.types,
        }
    }
}

/// What an input of a network is, and its type.
fn input(port: &Port) -> std::result::Result<(TextInput, OnnxDType), String> {
    let known = INPUTS.iter().find(|(name, _)| *name == port.name);
    let whole = port.element.filter(|element| !element.is_float() && element.dtype().is_some());
    match (known, whole) {
        (Some((_, input)), Some(element)) if port.sizes.len() == 2 => Ok((*input, element)),
        (Some(_), _) => Err(format!("its input {} should be whole numbers [texts, pieces]", port.name)),
        (None, _) => Err(format!(
            "its input {} is none of a text's; a network of texts takes {}",
            port.name,
            INPUTS.map(|(name, _)| name).join(", ")
        )),
    }
}

/// A file beside another, or in the folder around.
fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    let own = path.parent()?;
    let around = own.canonicalize().ok().and_then(|own| own.parent().map(Path::to_path_buf));
    let files = std::iter::once(own.join(name)).chain(around.map(|around| around.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// What a configuration says of a network's texts.
struct DescribedText {
    window: Option<usize>,
    padding: Option<u32>,
    labels: Option<Vec<String>>,
    meaning: ClassMeaning,
}

fn described_text(object: &Map<String, Json>) -> std::result::Result<DescribedText, String> {
    let fields = Fields(object);
    let padding = fields.known("pad_token_id").map(|_| fields.code_or("pad_token_id", 0)).transpose()?;
    let most = fields.known("max_position_embeddings").map(|_| fields.count("max_position_embeddings"));
    // Its positions begin behind that of padding.
    let taken = match fields.text_or("model_type", "")? {
        "roberta" | "xlm-roberta" | "camembert" => padding.unwrap_or(1) as usize + 1,
        _ => 0,
    };
    let labels = fields.known("id2label").map(|_| labels(&fields)).transpose()?;
    let meaning = ClassMeaning::of(&fields, labels.as_ref().map_or(0, Vec::len))?;
    let window = most.transpose()?.map(|most| most.saturating_sub(taken).max(1));
    Ok(DescribedText { window, padding, labels, meaning })
}
