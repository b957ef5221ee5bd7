//! What a row of a model's inputs is: its shape, the type and meaning of its numbers, and what its pixels go through.

use kiln_data::{Form, Meaning, ValueKind};
use kiln_nn::Tensor;
use serde::{Deserialize, Serialize};

/// One row's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its numbers: `u8`, `f32`, …
    pub kind: String,
    /// What numbers are multiplied by; nothing for codes.
    pub scale: Option<f32>,
    /// How many codes there are; nothing for amounts.
    pub codes: Option<usize>,
    /// What a network from elsewhere wants done to pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
}

/// What becomes of pixels from 0 to 1, channel by channel, before a network takes them: each times a factor, plus a shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pixels {
    /// One for each channel.
    pub factor: Vec<f32>,
    /// One for each channel.
    pub shift: Vec<f32>,
    /// Whether the network takes `[batch, height, width, channels]`; rows are `[channels, height, width]` in any case.
    #[serde(default)]
    pub channels_last: bool,
}

impl Pixels {
    /// `[batch, channels, height, width]` as the network takes it.
    pub(crate) fn of(&self, x: &Tensor) -> Tensor {
        let by_channel = |numbers: &[f32]| Tensor::new(numbers.to_vec(), [1, numbers.len(), 1, 1]);
        let y = x * by_channel(&self.factor) + by_channel(&self.shift);
        if self.channels_last { y.permute([0, 2, 3, 1]) } else { y }
    }
}

const KINDS: [(&str, ValueKind); 5] = [
    ("u8", ValueKind::U8),
    ("u16", ValueKind::U16),
    ("i64", ValueKind::I64),
    ("f16", ValueKind::F16),
    ("f32", ValueKind::F32),
];

impl InputSpec {
    /// The input of a set's rows.
    pub fn of(form: &Form) -> InputSpec {
        let kind = KINDS.iter().find(|(_, kind)| *kind == form.kind).map_or("f32", |(name, _)| name);
        let (scale, codes) = match form.meaning {
            Meaning::Numbers { scale } => (Some(scale), None),
            Meaning::Codes { count } => (None, Some(count)),
        };
        InputSpec { shape: form.shape.clone(), kind: kind.to_string(), scale, codes, pixels: None }
    }

    /// As sets say it.
    pub fn form(&self) -> Form {
        let kind =
            KINDS.iter().find(|(name, _)| *name == self.kind).map_or(ValueKind::F32, |(_, kind)| *kind);
        let meaning = match self.codes {
            Some(count) => Meaning::Codes { count },
            None => Meaning::Numbers { scale: self.scale.unwrap_or(1.0) },
        };
        Form { kind, shape: self.shape.clone(), meaning }
    }

    /// The form of raw numbers as its rows, if it is plain numbers: any numbers, which mean what those of its own type do.
    pub(crate) fn plain(&self) -> Option<Form> {
        self.numbers().map(|_| Form { kind: ValueKind::F32, ..self.form() })
    }

    /// Whether rows of a form mean what its own do, whatever the type of their numbers.
    pub(crate) fn means(&self, form: &Form) -> bool {
        self.form().meaning == form.meaning
    }

    /// What its numbers mean, in a few words.
    pub(crate) fn meaning(&self) -> String {
        match self.form().meaning {
            Meaning::Codes { count } => format!("codes, of {count}"),
            Meaning::Numbers { scale } => format!("numbers times {scale}"),
        }
    }

    /// How many numbers a row has, if it is plain numbers.
    pub(crate) fn numbers(&self) -> Option<usize> {
        match (self.shape.as_slice(), self.codes) {
            (&[width], None) => Some(width),
            _ => None,
        }
    }
}
