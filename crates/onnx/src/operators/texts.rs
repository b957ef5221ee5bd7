//! Texts, which are known while a network is traced: joined, cut, brought to one form; and counts of n-grams.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_ir::{DType, Data};
use kiln_nn::Tensor;

use super::host::OnHost;
use crate::call::{Call, Operator};
use crate::element::OnnxDType;
use crate::error::Result;
use crate::value::{Value, whole};

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "StringConcat" => concat,
        "StringSplit" => split,
        "StringNormalizer" => normalise,
        "TfIdfVectorizer" => count_grams,
        _ => return None,
    })
}

/// The texts of an input.
fn texts<'a>(call: &'a Call, position: usize) -> Result<(&'a Arc<Vec<String>>, &'a [usize])> {
    match call.value(position)? {
        Value::Texts(texts, shape) => Ok((texts, shape)),
        Value::Later(why) => Err(call.fault(why)),
        _ => Err(call.fault(format!("input {position} holds no texts"))),
    }
}

/// Texts behind one another, broadcast together.
fn concat(call: &Call) -> Result<Vec<Value>> {
    let ((a, first), (b, second)) = (texts(call, 0)?, texts(call, 1)?);
    let rank = first.len().max(second.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |own| shape[own]);
    let mut sizes = Vec::with_capacity(rank);
    for axis in 0..rank {
        sizes.push(match (size(first, axis), size(second, axis)) {
            (own, other) if own == other || other == 1 => own,
            (1, other) => other,
            _ => return Err(call.fault(format!("{first:?} and {second:?}"))),
        });
    }
    call.room(&sizes)?;
    let count: usize = sizes.iter().product();
    call.listed(count)?;
    let place = |shape: &[usize], at: usize| {
        let (mut rest, mut step, mut place) = (at, 1, 0);
        for axis in (0..rank).rev() {
            let own = size(shape, axis);
            place += if own == 1 { 0 } else { rest % sizes[axis] * step };
            rest /= sizes[axis].max(1);
            step *= own;
        }
        place
    };
    // Few long texts broadcast become many.
    let bytes = (0..count)
        .map(|at| (a[place(first, at)].len() + b[place(second, at)].len() + size_of::<String>()) as u64)
        .fold(0, u64::saturating_add);
    call.budget().bytes(bytes).map_err(|exceeded| call.limit(exceeded))?;
    let joined = (0..count).map(|at| format!("{}{}", a[place(first, at)], b[place(second, at)])).collect();
    Ok(vec![Value::texts(joined, &sizes)])
}

/// The words of each text, filled up with empty ones; and how many each has.
fn split(call: &Call) -> Result<Vec<Value>> {
    let (texts, shape) = texts(call, 0)?;
    let (between, most) = (call.text("delimiter", ""), call.int("maxsplit", -1));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let words = |text: &String| -> Vec<String> {
        if !between.is_empty() {
            return text.splitn(most.saturating_add(1), &between).map(str::to_string).collect();
        }
        let (mut rest, mut words) = (text.trim_start(), Vec::new());
        while !rest.is_empty() {
            let end = rest.find(char::is_whitespace).filter(|_| words.len() < most).unwrap_or(rest.len());
            words.push(rest[..end].to_string());
            rest = rest[end..].trim_start();
        }
        words
    };
    let all: Vec<Vec<String>> = texts.iter().map(words).collect();
    call.spelled(all.iter().flatten())?;
    let widest = all.iter().map(Vec::len).max().unwrap_or(0);
    call.listed(widest.saturating_mul(all.len()))?;
    let counts = all.iter().map(|words| words.len() as i64).collect();
    let filled = |mut words: Vec<String>| {
        words.resize(widest, String::new());
        words
    };
    let words = Value::texts(all.into_iter().flat_map(filled).collect(), &[shape, &[widest]].concat());
    Ok(vec![words, Value::new(Data::I64(counts), shape, OnnxDType::I64)])
}

/// Texts in one case, without some.
fn normalise(call: &Call) -> Result<Vec<Value>> {
    let (texts, shape) = texts(call, 0)?;
    if !matches!(shape, [_] | [1, _]) {
        return Err(call.fault(format!("texts {shape:?}; one row is taken")));
    }
    let cased = |text: &str, action: &str| match action {
        "LOWER" => text.to_lowercase(),
        "UPPER" => text.to_uppercase(),
        _ => text.to_string(),
    };
    let exact = call.int("is_case_sensitive", 0) != 0;
    let plain = |text: &str| if exact { text.to_string() } else { text.to_lowercase() };
    let without: HashSet<String> =
        call.texts("stopwords").unwrap_or_default().iter().map(|word| plain(word)).collect();
    let action = call.text("case_change_action", "NONE");
    let kept = texts.iter().filter(|text| !without.contains(&plain(text)));
    let mut kept: Vec<String> = kept.map(|text| cased(text, &action)).collect();
    // There is always a text, be it empty.
    if kept.is_empty() {
        kept.push(String::new());
    }
    call.spelled(kept.iter())?;
    let sizes = [&shape[..shape.len() - 1], &[kept.len()]].concat();
    Ok(vec![Value::texts(kept, &sizes)])
}

/// The sequences of codes that are counted, and what a count becomes.
struct Grams {
    /// The column of each sequence.
    columns: HashMap<Vec<i64>, usize>,
    width: usize,
    least: usize,
    most: usize,
    skips: usize,
    /// A factor for each column, and whether only presence counts.
    weights: Option<Vec<f32>>,
    is_presence: bool,
}

impl Grams {
    /// How far apart a sequence's codes may be in a row of so many: there is nothing further away than its end.
    fn distances(&self, length: usize) -> usize {
        self.skips.saturating_add(1).min(length.max(1))
    }

    /// What of a row is there how often. Single codes are counted once, whatever is skipped.
    fn counted(&self, row: &[i64], y: &mut [f32]) {
        for distance in 1..=self.distances(row.len()) {
            let least = if distance > 1 { self.least.max(2) } else { self.least };
            for start in 0..row.len() {
                let mut gram = Vec::new();
                for at in (start..row.len()).step_by(distance).take(self.most) {
                    gram.push(row[at]);
                    if gram.len() >= least
                        && let Some(&column) = self.columns.get(&gram)
                    {
                        y[column] += 1.0;
                    }
                }
            }
        }
        for (column, count) in y.iter_mut().enumerate() {
            let weight = self.weights.as_ref().and_then(|weights| weights.get(column).copied());
            let seen = if self.is_presence { f32::from(*count > 0.0) } else { *count };
            *count = seen * weight.unwrap_or(1.0);
        }
    }
}

/// How often n-grams of a list are in each row.
fn count_grams(call: &Call) -> Result<Vec<Value>> {
    let shape = call.value(0)?.shape();
    let words = call.texts("pool_strings").filter(|words| !words.is_empty());
    let mut numbers: HashMap<String, i64> = HashMap::new();
    let pool: Vec<i64> = match &words {
        None => call.ints("pool_int64s").unwrap_or_default(),
        Some(words) => {
            let number = |word: &String| {
                let next = numbers.len() as i64;
                *numbers.entry(word.clone()).or_insert(next)
            };
            words.iter().map(number).collect()
        }
    };
    let codes = match call.value(0)? {
        Value::Texts(texts, shape) => {
            let codes = texts.iter().map(|text| numbers.get(text).copied().unwrap_or(-1)).collect();
            Tensor::from_data(Data::I64(codes), shape.clone())
        }
        _ if words.is_some() => return Err(call.fault("the n-grams are of texts, and numbers come in")),
        _ => call.tensor(0)?,
    };
    let grams = listed(call, &pool)?;
    let width = grams.width;
    let sizes = match shape[..] {
        [] | [_] => vec![width],
        [rows, _] => vec![rows, width],
        _ => return Err(call.fault(format!("rows {shape:?}"))),
    };
    call.room_of(&sizes, 4)?;
    let length = shape.last().copied().unwrap_or(1);
    let rows = if sizes.len() == 2 { sizes[0] } else { 1 };
    // Each place of each row begins sequences of every length, and each is looked for as a whole.
    let longest = grams.most.min(length);
    let work = [rows, length, grams.distances(length), longest, longest];
    call.worked(&work)?;
    let compute = move |operands: &[(&kiln_ir::Shape, &Data)]| {
        let codes = whole(operands[0].1);
        let mut y = vec![0f32; rows * width];
        for (at, y) in y.chunks_mut(width.max(1)).enumerate() {
            grams.counted(&codes[at * length..][..length], y);
        }
        Ok(Data::F32(y))
    };
    let y = OnHost { name: "TfIdfVectorizer", shape: sizes, dtype: DType::F32, compute };
    Ok(vec![Value::Numbers(y.of(&[&codes]), OnnxDType::F32)])
}

/// What an operator counts: its pool has the single codes first, then the pairs, …, each from its own place on.
fn listed(call: &Call, pool: &[i64]) -> Result<Grams> {
    let count = |name: &str, default: i64| Ok::<_, crate::Error>(call.sizes(&[call.int(name, default)])?[0]);
    let starts = call.sizes(&call.ints("ngram_counts").unwrap_or_default())?;
    let to = call.sizes(&call.ints("ngram_indexes").unwrap_or_default())?;
    call.listed(pool.len().saturating_add(to.len()).saturating_mul(4))?;
    let (least, most) = (count("min_gram_length", 1)?, count("max_gram_length", 1)?);
    let mut columns = HashMap::new();
    let mut number = 0;
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(pool.len());
        let part = pool
            .get(start..end)
            .ok_or_else(|| call.fault(format!("n-grams {start} to {end} of {}", pool.len())))?;
        for gram in part.chunks_exact(at + 1) {
            let column = *to.get(number).ok_or_else(|| call.fault("there are fewer columns than n-grams"))?;
            number += 1;
            if (least..=most).contains(&(at + 1)) {
                columns.insert(gram.to_vec(), column);
            }
        }
    }
    let width = to.iter().max().map_or(0, |most| most + 1);
    call.room(&[width])?;
    call.listed(width)?;
    let weights = call.floats("weights").filter(|weights| !weights.is_empty());
    // A weight is an n-gram's, wherever its column is.
    let weights = weights.map(|weights| {
        let mut all = vec![1f32; width];
        to.iter().zip(weights).for_each(|(&column, weight)| all[column] = weight);
        all
    });
    let (weights, is_presence) = match call.text("mode", "").as_str() {
        "TF" => (None, false),
        "IDF" => (weights, true),
        "TFIDF" => (weights, false),
        other => return Err(call.fault(format!("a mode of {other}"))),
    };
    Ok(Grams {
        columns,
        width,
        least: least.max(1),
        // None that is looked for is longer.
        most: most.min(starts.len()),
        skips: count("max_skip_count", 0)?,
        weights,
        is_presence,
    })
}
