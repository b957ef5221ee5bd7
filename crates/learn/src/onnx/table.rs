//! A table's preparation as part of a graph: each column is an input of its own, `[batch, 1]`: numbers as `float32` with NaN where they
//! are missing, words as texts, empty where they are missing.

use kiln_data::{ColumnKind, Encoding, Feature, Scale, TablePreparation, Vocabulary};
use kiln_nn::{DType, Data};
use kiln_onnx::OnnxDType;
use kiln_onnx::export::{Attribute, BATCH, Builder, ML, ModelInput, Size};

use crate::{Error, Result};

/// The inputs of all columns, and the rows that the layers take.
pub(super) fn inputs(builder: &mut Builder, plan: &TablePreparation) -> Result<ModelInput> {
    let mut parts = Vec::new();
    for feature in plan.features() {
        let element = element_of(feature)?;
        let sizes = [Size::Named(BATCH.to_string()), Size::Fixed(1)];
        let column = builder.input(&feature.column, element, &sizes);
        parts.extend(columns(builder, feature, &column));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let rows = match parts.as_slice() {
        [one] => one.to_string(),
        _ => builder.node("Concat", &parts, vec![("axis", Attribute::Int(1))]),
    };
    Ok(ModelInput { name: rows, row: vec![plan.width()], dtype: DType::F32 })
}

/// What a column comes in as.
pub(super) fn element_of(feature: &Feature) -> Result<OnnxDType> {
    match feature.kind {
        ColumnKind::Number => Ok(OnnxDType::F32),
        ColumnKind::Category | ColumnKind::Boolean => Ok(OnnxDType::Text),
        ColumnKind::Date => Err(Error::Training(format!(
            "the column {} holds dates, which no operator of ONNX reads; export --without-preprocessing, or train with \
             --columns \"{}: drop\"",
            feature.column, feature.column
        ))),
    }
}

/// The inputs that a column becomes, side by side.
fn columns(builder: &mut Builder, feature: &Feature, column: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let missing = |builder: &mut Builder| match feature.kind {
        ColumnKind::Number => {
            let missing = builder.node("IsNaN", &[column], Vec::new());
            to_float(builder, &missing)
        }
        _ => looked_up(builder, column, &[String::new()], Attribute::Floats(vec![1.0]), 0.0),
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
            let code = code(builder, feature.kind, column, vocabulary, -1.0);
            let all = (0..vocabulary.size()).map(|code| code as f32).collect();
            let all = builder.constant("codes", &[1, vocabulary.size()], &Data::F32(all));
            let same = builder.node("Equal", &[&code, &all], Vec::new());
            parts.push(to_float(builder, &same));
            false
        }
        Encoding::Codes { vocabulary } => {
            parts.push(code(builder, feature.kind, column, vocabulary, 0.0));
            false
        }
        // Refused before.
        Encoding::Date { .. } => false,
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
    let x = builder.node("Mul", &[&x, &factor], Vec::new());
    to_float(builder, &x)
}

/// The code of each word, as a float.
fn code(builder: &mut Builder, kind: ColumnKind, column: &str, vocabulary: &Vocabulary, none: f32) -> String {
    let count = vocabulary.words.len();
    let other = if vocabulary.other { count as f32 } else { none };
    let missing = if vocabulary.missing { (count + usize::from(vocabulary.other)) as f32 } else { other };
    let mut words = vocabulary.words.clone();
    let mut codes: Vec<f32> = (0..count).map(|code| code as f32).collect();
    words.push(String::new());
    codes.push(missing);
    encoded(builder, kind, column, &words, &codes, other)
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
