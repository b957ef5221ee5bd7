//! Numbers in their own units as part of a graph: a scale and an offset, a logarithm undone, and the bounds of an interval.

use std::ops::Range;

use kiln_data::{Curve, Unit};
use kiln_nn::Data;
use kiln_onnx::OnnxDType;
use kiln_onnx::export::{Attribute, BATCH, Builder, Size};

use crate::model::{PartMeaning, TaskPart};

/// The outputs of numbers: `prediction`, of intervals also `low` and `high`, each `[batch, numbers]` and with a prefix.
pub(super) fn answer(builder: &mut Builder, outputs: &str, parts: &[TaskPart], prefix: &str) {
    let mut numbers = Vec::new();
    for part in parts {
        if let PartMeaning::Number { unit, interval } = part.meaning {
            numbers.push((part.outputs.clone(), unit, interval.is_some()));
        }
    }
    let is_plain =
        |(_, unit, has_bounds): &(Range<usize>, Unit, bool)| unit.curve.is_straight() && !has_bounds;
    let sizes = [Size::Named(BATCH.to_string()), Size::Fixed(numbers.len())];
    // Side by side they are made in their units at once.
    if numbers.iter().all(is_plain) && prefix.is_empty() {
        let row = |of: fn(&Unit) -> f64| numbers.iter().map(|(_, unit, _)| of(unit) as f32).collect();
        let scale = builder.constant("unit", &[numbers.len()], &Data::F32(row(|unit| unit.scale)));
        let offset = builder.constant("zero", &[numbers.len()], &Data::F32(row(|unit| unit.offset)));
        let scaled = builder.node("Mul", &[outputs, &scale], Vec::new());
        let moved = builder.node("Add", &[&scaled, &offset], Vec::new());
        builder.output(&moved, "prediction", OnnxDType::F32, &sizes);
        return;
    }
    let [mut said, mut low, mut high] = [const { Vec::new() }; 3];
    for (places, unit, has_bounds) in numbers {
        let first = column(builder, outputs, places.start);
        if !has_bounds {
            said.push(number(builder, &first, &unit, false));
            continue;
        }
        let [middle, last] = [1, 2].map(|at| column(builder, outputs, places.start + at));
        // Bounds that crossed are put on their side.
        let least = builder.node("Min", &[&first, &middle], Vec::new());
        let most = builder.node("Max", &[&middle, &last], Vec::new());
        said.push(number(builder, &middle, &unit, true));
        low.push(number(builder, &least, &unit, true));
        high.push(number(builder, &most, &unit, true));
    }
    for (columns, name) in [(said, "prediction"), (low, "low"), (high, "high")] {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let joined = match columns.as_slice() {
            [] => continue,
            [one] => one.to_string(),
            _ => builder.node("Concat", &columns, vec![("axis", Attribute::Int(1))]),
        };
        builder.output(&joined, &format!("{prefix}{name}"), OnnxDType::F32, &sizes);
    }
}

/// One of the outputs, `[batch, 1]`.
fn column(builder: &mut Builder, outputs: &str, at: usize) -> String {
    let [start, end, axis] =
        [at as i64, at as i64 + 1, 1].map(|number| builder.constant("part", &[1], &Data::I64(vec![number])));
    builder.node("Slice", &[outputs, &start, &end, &axis], Vec::new())
}

/// The number that an output says.
fn number(builder: &mut Builder, output: &str, unit: &Unit, is_bound: bool) -> String {
    let mut with = |operation: &str, value: &str, number: f64| {
        let number = builder.scalar(&Data::F32(vec![number as f32]));
        builder.node(operation, &[value, &number], Vec::new())
    };
    if unit.curve == Curve::Count {
        let mean = builder.node("Exp", &[output], Vec::new());
        let scale = builder.scalar(&Data::F32(vec![unit.scale as f32]));
        return builder.node("Mul", &[&mean, &scale], Vec::new());
    }
    let scaled = with("Mul", output, unit.scale);
    let moved = with("Add", &scaled, unit.offset);
    let Curve::Log { unit: small, factor } = unit.curve else { return moved };
    let size = builder.node("Abs", &[&moved], Vec::new());
    let power = builder.node("Exp", &[&size], Vec::new());
    let one = builder.scalar(&Data::F32(vec![1.0]));
    let less = builder.node("Sub", &[&power, &one], Vec::new());
    let by = builder.scalar(&Data::F32(vec![(if is_bound { small } else { small * factor }) as f32]));
    let number = builder.node("Mul", &[&less, &by], Vec::new());
    let sign = builder.node("Sign", &[&moved], Vec::new());
    builder.node("Mul", &[&number, &sign], Vec::new())
}
