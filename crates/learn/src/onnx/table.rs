//! A table's preparation as part of a graph: each column is an input of its own, `[batch, 1]`: numbers as `float32` with NaN where they
//! are missing, words as texts, empty where they are missing, and dates as `float64`, seconds since 1970 in UTC, NaN where they are missing. Free
//! text is `float32` `[batch, words]`: 1 where a text has the word, 0 where it hasn't.

use kiln_data::{ColumnKind, DatePart, Encoding, Feature, Scale, TablePreparation, Vocabulary};
use kiln_nn::{DType, Data};
use kiln_onnx::OnnxDType;
use kiln_onnx::export::{Attribute, BATCH, Builder, ML, ModelInput, Size};
use serde_json::Value as Json;

use crate::Result;

/// The inputs of all columns, and the rows that the layers take.
pub(super) fn inputs(builder: &mut Builder, plan: &TablePreparation) -> Result<ModelInput> {
    let mut parts = Vec::new();
    for feature in plan.features() {
        let (element, width) = (element_of(feature), width_of(feature));
        let sizes = [Size::Named(BATCH.to_string()), Size::Fixed(width)];
        let column = builder.input(&feature.column, element, &sizes);
        parts.extend(columns(builder, feature, &column));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let rows = match parts.as_slice() {
        [one] => one.to_string(),
        _ => builder.node("Concat", &parts, vec![("axis", Attribute::Int(1))]),
    };
    let sizes = vec![Size::Named(BATCH.to_string()), Size::Fixed(plan.width())];
    Ok(ModelInput { name: rows, sizes, dtype: DType::F32 })
}

/// The words of each column of free text, as the file's metadata have them: `words of review`, a list of JSON.
pub(super) fn words(plan: &TablePreparation) -> impl Iterator<Item = (String, String)> + '_ {
    plan.features().iter().filter_map(|feature| match &feature.encoding {
        Encoding::Text { words } => {
            Some((format!("words of {}", feature.column), Json::from(words.clone()).to_string()))
        }
        Encoding::Number { .. }
        | Encoding::Pair { .. }
        | Encoding::OneHot { .. }
        | Encoding::Codes { .. }
        | Encoding::Date { .. } => None,
    })
}

/// How many numbers or words of a column a row has.
pub(super) fn width_of(feature: &Feature) -> usize {
    match &feature.encoding {
        Encoding::Text { words } => words.len(),
        Encoding::Number { .. }
        | Encoding::Pair { .. }
        | Encoding::OneHot { .. }
        | Encoding::Codes { .. }
        | Encoding::Date { .. } => 1,
    }
}

/// What a column comes in as.
pub(super) fn element_of(feature: &Feature) -> OnnxDType {
    match feature.kind {
        // What a text has of the words that are known: no standard operator cuts many texts in words as kiln does.
        _ if matches!(feature.encoding, Encoding::Text { .. }) => OnnxDType::F32,
        ColumnKind::Number => OnnxDType::F32,
        ColumnKind::Category | ColumnKind::Boolean => OnnxDType::Text,
        ColumnKind::Date => OnnxDType::F64,
    }
}

/// The inputs that a column becomes, side by side.
fn columns(builder: &mut Builder, feature: &Feature, column: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let missing = |builder: &mut Builder| match feature.kind {
        ColumnKind::Number | ColumnKind::Date => {
            let missing = builder.node("IsNaN", &[column], Vec::new());
            to_float(builder, &missing)
        }
        ColumnKind::Category | ColumnKind::Boolean => {
            let words = missing_words(feature);
            let ones = Attribute::Floats(vec![1.0; words.len()]);
            looked_up(builder, column, &words, ones, 0.0)
        }
    };
    let flagged = match &feature.encoding {
        Encoding::Number { scale, fill, flag } => {
            parts.push(number(builder, column, *scale, *fill));
            *flag
        }
        Encoding::Pair { words, share, flag } => {
            parts.push(encoded(builder, feature.kind, column, words, &[0.0, 1.0], *share as f32));
            *flag
        }
        Encoding::OneHot { vocabulary } => {
            let code = code(builder, feature, column, vocabulary, -1.0);
            let all = (0..vocabulary.size()).map(|code| code as f32).collect();
            let all = builder.constant("codes", &[1, vocabulary.size()], &Data::F32(all));
            let same = builder.node("Equal", &[&code, &all], Vec::new());
            parts.push(to_float(builder, &same));
            false
        }
        Encoding::Codes { vocabulary } => {
            parts.push(code(builder, feature, column, vocabulary, 0.0));
            false
        }
        Encoding::Text { .. } => {
            parts.push(column.to_string());
            false
        }
        Encoding::Date { parts: of_date, flag } => {
            parts.extend(calendar(builder, of_date, column));
            *flag
        }
    };
    if flagged {
        parts.push(missing(builder));
    }
    parts
}

fn to_float(builder: &mut Builder, value: &str) -> String {
    builder.node("Cast", &[value], vec![("to", Attribute::Int(OnnxDType::F32.number().into()))])
}

/// Filled, scaled and, where it is so, its logarithm first; in 64 bits, as it was fitted.
fn number(builder: &mut Builder, column: &str, scale: Scale, fill: f64) -> String {
    let wide = Attribute::Int(OnnxDType::F64.number().into());
    let scalar = |builder: &mut Builder, number: f64| builder.scalar(&Data::F64(vec![number]));
    let missing = builder.node("IsNaN", &[column], Vec::new());
    let x = builder.node("Cast", &[column], vec![("to", wide)]);
    let fill = scalar(builder, fill);
    let mut x = builder.node("Where", &[&missing, &fill, &x], Vec::new());
    if scale.log {
        let one = scalar(builder, 1.0);
        let size = builder.node("Abs", &[&x], Vec::new());
        let size = builder.node("Add", &[&size, &one], Vec::new());
        let log = builder.node("Log", &[&size], Vec::new());
        let sign = builder.node("Sign", &[&x], Vec::new());
        x = builder.node("Mul", &[&log, &sign], Vec::new());
    }
    let (shift, factor) = (scalar(builder, scale.shift), scalar(builder, scale.factor));
    let x = builder.node("Sub", &[&x, &shift], Vec::new());
    let mut x = builder.node("Mul", &[&x, &factor], Vec::new());
    if scale.clip {
        let (three, one) = (scalar(builder, 3.0), scalar(builder, 1.0));
        let third = builder.node("Div", &[&x, &three], Vec::new());
        let square = builder.node("Mul", &[&third, &third], Vec::new());
        let square = builder.node("Add", &[&square, &one], Vec::new());
        let root = builder.node("Sqrt", &[&square], Vec::new());
        x = builder.node("Div", &[&x, &root], Vec::new());
    }
    to_float(builder, &x)
}

/// The code of each word, as a float.
fn code(
    builder: &mut Builder,
    feature: &Feature,
    column: &str,
    vocabulary: &Vocabulary,
    none: f32,
) -> String {
    let count = vocabulary.words.len();
    let other = if vocabulary.other { count as f32 } else { none };
    let missing = if vocabulary.missing { (count + usize::from(vocabulary.other)) as f32 } else { other };
    let mut words = vocabulary.words.clone();
    let mut codes: Vec<f32> = (0..count).map(|code| code as f32).collect();
    for word in missing_words(feature) {
        words.push(word);
        codes.push(missing);
    }
    encoded(builder, feature.kind, column, &words, &codes, other)
}

/// The texts that say that a cell is missing.
fn missing_words(feature: &Feature) -> Vec<String> {
    match feature.kind {
        ColumnKind::Category | ColumnKind::Boolean => {
            std::iter::once(String::new()).chain(feature.format.missing.iter().cloned()).collect()
        }
        ColumnKind::Number | ColumnKind::Date => vec![String::new()],
    }
}

/// The parts of moments that come in as seconds since 1970, as `kiln_data` has them: Hinnant's `civil_from_days` in whole numbers.
fn calendar(builder: &mut Builder, parts: &[DatePart], column: &str) -> Vec<String> {
    let missing = builder.node("IsNaN", &[column], Vec::new());
    let zero = builder.scalar(&Data::F64(vec![0.0]));
    let present = builder.node("Where", &[&missing, &zero, column], Vec::new());
    let whole = builder.node("Floor", &[&present], Vec::new());
    let seconds =
        builder.node("Cast", &[&whole], vec![("to", Attribute::Int(OnnxDType::I64.number().into()))]);
    let mut graph = Calendar { builder };
    let second = graph.with("Mod", &seconds, 86_400);
    let days = graph.divided(&seconds, 86_400);
    let date = parts.iter().any(|part| part.part < 3).then(|| graph.date(&days));
    let mut made = Vec::new();
    for part in parts {
        let value = match (part.part, &date) {
            (at @ 0..3, Some(date)) => date[at].clone(),
            (3, _) => {
                let from_monday = graph.with("Add", &days, 3);
                graph.with("Mod", &from_monday, 7)
            }
            _ => second.clone(),
        };
        let value = graph.wide(&value);
        let value = if part.part == 4 { graph.scaled("Div", &value, 3600.0) } else { value };
        made.extend(graph.inputs(*part, &value, &missing));
    }
    made
}

/// Arithmetic in a graph.
struct Calendar<'a> {
    builder: &'a mut Builder,
}

impl Calendar<'_> {
    /// A whole number and another that is known.
    fn with(&mut self, operator: &str, value: &str, number: i64) -> String {
        let number = self.builder.scalar(&Data::I64(vec![number]));
        self.builder.node(operator, &[value, &number], Vec::new())
    }

    fn both(&mut self, operator: &str, one: &str, other: &str) -> String {
        self.builder.node(operator, &[one, other], Vec::new())
    }

    /// The quotient, rounded down also below zero, where `Div` rounds up.
    fn divided(&mut self, value: &str, by: i64) -> String {
        let rest = self.with("Mod", value, by);
        let even = self.both("Sub", value, &rest);
        self.with("Div", &even, by)
    }

    /// Year, month and day of days since 1970.
    fn date(&mut self, days: &str) -> [String; 3] {
        let shifted = self.with("Add", days, 719_468);
        let era = self.divided(&shifted, 146_097);
        let of_era = self.with("Mod", &shifted, 146_097);
        let mut leaps = of_era.clone();
        for (operator, every) in [("Sub", 1460), ("Add", 36_524), ("Sub", 146_096)] {
            let some = self.with("Div", &of_era, every);
            leaps = self.both(operator, &leaps, &some);
        }
        let year = self.with("Div", &leaps, 365);
        let [common, fourth, century] = [("Mul", 365), ("Div", 4), ("Div", 100)]
            .map(|(operator, number)| self.with(operator, &year, number));
        let before = self.both("Add", &common, &fourth);
        let before = self.both("Sub", &before, &century);
        let of_year = self.both("Sub", &of_era, &before);
        let fifths = self.with("Mul", &of_year, 5);
        let fifths = self.with("Add", &fifths, 2);
        let from_march = self.with("Div", &fifths, 153);
        let month = self.with("Add", &from_march, 2);
        let month = self.with("Mod", &month, 12);
        let month = self.with("Add", &month, 1);
        let begins = self.with("Mul", &from_march, 153);
        let begins = self.with("Add", &begins, 2);
        let begins = self.with("Div", &begins, 5);
        let day = self.both("Sub", &of_year, &begins);
        let day = self.with("Add", &day, 1);
        let of_eras = self.with("Mul", &era, 400);
        let year = self.both("Add", &year, &of_eras);
        // January and February are the last months of the year before.
        let next = self.with("Div", &from_march, 10);
        [self.both("Add", &year, &next), month, day]
    }

    fn wide(&mut self, value: &str) -> String {
        self.builder.node("Cast", &[value], vec![("to", Attribute::Int(OnnxDType::F64.number().into()))])
    }

    fn scaled(&mut self, operator: &str, value: &str, number: f64) -> String {
        let number = self.builder.scalar(&Data::F64(vec![number]));
        self.builder.node(operator, &[value, &number], Vec::new())
    }

    /// What a part becomes; the mean, or the middle of the circle, where the date is missing.
    fn inputs(&mut self, part: DatePart, value: &str, missing: &str) -> Vec<String> {
        let (shift, factor) = match part.cycle {
            true => (part.circle().1, std::f64::consts::TAU / part.circle().0),
            false => (part.mean, 1.0 / part.deviation),
        };
        let value = self.scaled("Sub", value, shift);
        let value = self.scaled("Mul", &value, factor);
        let value = to_float(self.builder, &value);
        let zero = self.builder.scalar(&Data::F32(vec![0.0]));
        let waves: &[&str] = if part.cycle { &["Sin", "Cos"] } else { &["Identity"] };
        let mut made = Vec::new();
        for wave in waves {
            let value = match *wave {
                "Identity" => value.clone(),
                wave => self.builder.node(wave, &[&value], Vec::new()),
            };
            made.push(self.builder.node("Where", &[missing, &zero, &value], Vec::new()));
        }
        made
    }
}

/// A number for each word; an empty word is a missing cell.
fn encoded(
    builder: &mut Builder,
    kind: ColumnKind,
    column: &str,
    words: &[String],
    codes: &[f32],
    other: f32,
) -> String {
    if kind != ColumnKind::Number {
        return looked_up(builder, column, words, Attribute::Floats(codes.to_vec()), other);
    }
    // Words that are numbers: each is held beside what comes in. A lookup by floats would not find a missing one.
    let mut result = builder.scalar(&Data::F32(vec![other]));
    for (word, code) in words.iter().zip(codes) {
        let code = builder.scalar(&Data::F32(vec![*code]));
        let same = match word.parse::<f32>() {
            Ok(number) => {
                let number = builder.scalar(&Data::F32(vec![number]));
                builder.node("Equal", &[column, &number], Vec::new())
            }
            Err(_) => builder.node("IsNaN", &[column], Vec::new()),
        };
        result = builder.node("Where", &[&same, &code, &result], Vec::new());
    }
    result
}

fn looked_up(builder: &mut Builder, column: &str, words: &[String], codes: Attribute, other: f32) -> String {
    let settings = vec![
        ("keys_strings", Attribute::Texts(words.to_vec())),
        ("values_floats", codes),
        ("default_float", Attribute::Float(other)),
    ];
    builder.node_of(ML, "LabelEncoder", &[column], settings, 1).remove(0)
}
