//! What makes a training the one it is: its data, its layers, and every setting that changes numbers. A checkpoint keeps it, and a
//! training that goes on is held beside it.
//!
//! Data are known by a sum over all rows. What is code (a loss, an optimizer, a schedule) is known by what it does to a few numbers,
//! so that it may be anybody's and its names may change.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use kiln_data::{Batch, Batching, Dataset, Meaning, Order, fingerprint};
use kiln_nn::loss::Loss;
use kiln_nn::optim::Optimizer;
use kiln_nn::schedule::Schedule;
use kiln_nn::sequential::alike;
use kiln_nn::{
    Context, DType, Data, Function, Input, Key, Layer, Module, Param, Sequential, Step, Tensor, Visitor,
};
use serde_json::{Map, Value, json};

use super::method::{Method, Steps, beside, listing};
use super::rows::RowLayout;
use crate::inputs::blank;
use crate::{Error, Result};

/// Parts of what makes a training the one it is, by the names that [`Trainer::allow_changes`](super::Trainer::allow_changes) takes.
pub const PARTS: [&str; 18] = [
    "data",
    "validation data",
    "layers",
    "loss",
    "optimizer",
    "step",
    "rate",
    "schedule",
    "plateau",
    "clip",
    "penalties",
    "averages",
    "accumulated batches",
    "batch size",
    "seed",
    "order of rows",
    "class weights",
    "metrics",
];

/// What a training is made of.
pub(super) struct TrainingIdentity<'s> {
    pub(super) model: &'s dyn Module,
    pub(super) layer: Option<&'s dyn Layer>,
    pub(super) method: OfMethod<'s>,
    pub(super) train: &'s dyn Dataset,
    pub(super) valid: Option<&'s dyn Dataset>,
    pub(super) metrics: Vec<String>,
    /// What settings say that are plain numbers and words.
    pub(super) said: BTreeMap<&'static str, Value>,
    pub(super) known: OnceCell<Map<String, Value>>,
}

/// What is known of the way a model is trained.
pub(super) struct OfMethod<'s> {
    /// The loss of a layer's predictions; of any other objective the sum of what it computes.
    loss: OfLoss<'s>,
    optimizer: Option<&'s dyn Optimizer>,
    /// The sum of what steps of one's own compute.
    step: Option<String>,
    rate: f64,
}

enum OfLoss<'s> {
    Layer(&'s dyn Loss),
    Objective(String),
    InTheStep,
}

impl<'a, M: Module> Method<'a, M> {
    /// What is known of it, as long as the model is as it begins. What is code of one's own is traced for a blank batch.
    pub(super) fn identity<'s>(
        &'s self,
        program: &Steps,
        model: &M,
        layout: &RowLayout,
        blank: &Batch,
    ) -> Result<OfMethod<'s>>
    where
        'a: 's,
    {
        let sum = |text: &str| format!("{:016x}", kiln_files::checksum(0, text.as_bytes()));
        let rate = self.rate();
        Ok(match self {
            Method::Lowering { plain: Some(plain), optimizer, .. } => {
                let loss = OfLoss::Layer(&*plain.loss);
                OfMethod { loss, optimizer: Some(&**optimizer), step: None, rate }
            }
            Method::Lowering { plain: None, optimizer, goal } => {
                let mut objective = Function::many(|inputs| {
                    let rows = layout.rows(inputs, None);
                    let objective = goal(model, &Context::training(Key::new(0)), &rows);
                    objective.lowered(&rows, true)
                });
                let loss = OfLoss::Objective(sum(&listing(&mut objective, blank)?));
                OfMethod { loss, optimizer: Some(&**optimizer), step: None, rate }
            }
            Method::Custom { .. } => {
                let step = Some(sum(&program.texts.join("\n")));
                OfMethod { loss: OfLoss::InTheStep, optimizer: None, step, rate }
            }
        })
    }
}

impl TrainingIdentity<'_> {
    /// The parts by name, less the schedule, which depends on how far it is asked.
    pub(super) fn parts(&self) -> Result<&Map<String, Value>> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let hash = |set: &dyn Dataset| fingerprint(set).map(|sum| format!("{sum:016x}"));
        let OfMethod { loss, optimizer, step, rate } = &self.method;
        let loss = match (loss, self.layer) {
            (OfLoss::Layer(loss), Some(layer)) => of_loss(*loss, layer, self.train).into(),
            (OfLoss::Objective(sum), _) => sum.clone().into(),
            (OfLoss::Layer(_) | OfLoss::InTheStep, _) => Value::Null,
        };
        let optimizer = optimizer.map(|optimizer| of_optimizer(optimizer, self.model)).transpose()?;
        let parts = [
            ("data", hash(self.train)?.into()),
            ("rows", self.train.len().into()),
            ("validation data", self.valid.map(hash).transpose()?.into()),
            ("layers", layers(self.model, self.layer, self.train)?.into()),
            ("loss", loss),
            ("optimizer", optimizer.into()),
            ("step", step.clone().into()),
            ("rate", (*rate).into()),
            ("metrics", self.metrics.clone().into()),
        ];
        let said = self.said.iter().map(|(name, value)| (*name, value.clone()));
        let parts = parts.into_iter().chain(said).map(|(name, value)| (name.to_string(), value));
        Ok(self.known.get_or_init(|| parts.collect()))
    }
}

/// What batching says.
pub(super) fn of_batching(batching: &Batching) -> [(&'static str, Value); 4] {
    let order = match &batching.order {
        Order::InTurn => "in turn".to_string(),
        Order::Shuffled => "shuffled".to_string(),
        Order::Weighted(weights) => {
            let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
            format!("weighted {:016x}", kiln_files::checksum(0, &bytes))
        }
    };
    [
        ("batch size", batching.size.into()),
        ("dropping the last batch", batching.drop_last.into()),
        ("order of rows", order.into()),
        ("seed", batching.seed.into()),
    ]
}

/// A line for each layer and each parameter. Where a layer doesn't say all of what it is, the operations it comes to are counted.
fn layers(model: &dyn Module, layer: Option<&dyn Layer>, train: &dyn Dataset) -> Result<String> {
    let stages = layer.map(|layer| layer.stages(&blank(train, 1))).unwrap_or_default();
    let titles: Vec<&str> = stages.iter().map(|(_, title, _)| title.as_str()).collect();
    let mut lines: Vec<String> = stages
        .iter()
        .map(|(path, title, y)| format!("{path} {title}: {}", y.shape()).trim_start().to_string())
        .collect();
    if let Some(layer) = layer
        && titles.join(", ").parse::<Sequential>().is_err()
    {
        lines.push(operations(layer, train)?);
    }
    lines.extend(model.parameters().iter().map(|(path, param)| {
        format!("{path} {}{}", param.shape(), if param.is_frozen() { " frozen" } else { "" })
    }));
    Ok(lines.join("\n"))
}

fn operations(model: &dyn Layer, train: &dyn Dataset) -> Result<String> {
    let form = train.x();
    let shape: Vec<usize> = std::iter::once(1).chain(form.shape.iter().copied()).collect();
    let count = shape.iter().product();
    let x = match crate::model::dtype(&form) {
        DType::F32 => Data::F32(vec![0.0; count]),
        _ => Data::I64(vec![0; count]),
    };
    let mut forward = Function::new(|[x]: [Tensor; 1]| vec![model.forward(&x, &Context::inference())]);
    let mut counts = BTreeMap::<String, usize>::new();
    for node in forward.graph([Input::from_data(&x, &shape)])?.nodes {
        *counts.entry(node.op.name().to_string()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    Ok(counts.join(", "))
}

/// Numbers that are all different and neither large nor small.
fn pattern(count: usize, start: usize) -> Vec<f32> {
    (start..start + count).map(|at| libm::sinf(at as f32 * 0.7 + 0.3) * 0.8).collect()
}

/// What a loss makes of made-up predictions and targets; none where it takes only others.
fn of_loss(loss: &dyn Loss, model: &dyn Layer, train: &dyn Dataset) -> Option<f64> {
    const ROWS: usize = 3;
    let prediction = model.forward(&blank(train, ROWS), &Context::inference());
    let shape = prediction.error().is_none().then(|| prediction.shape().clone())?;
    let prediction = Tensor::from_data(Data::F32(pattern(shape.elements(), 1)), shape);
    let form = train.y();
    let shape: Vec<usize> = std::iter::once(ROWS).chain(form.shape.iter().copied()).collect();
    let count: usize = shape.iter().product();
    let numbers = match form.meaning {
        Meaning::Codes { count: classes } => {
            Data::I64((0..count).map(|at| (at % classes.max(1)) as i64).collect())
        }
        Meaning::Numbers { .. } => Data::F32(pattern(count, 2)),
    };
    let y = Tensor::from_data(numbers, shape);
    let y = match form.meaning {
        Meaning::Codes { .. } => y,
        Meaning::Numbers { .. } => beside(&y, &prediction),
    };
    let weights = Tensor::from_data(Data::F32(vec![0.5, 1.0, 1.5]), [ROWS]);
    loss.weighted(&prediction, &y, Some(&weights)).mean(..).item().ok().filter(|loss| loss.is_finite())
}

/// Parameters of a model's paths, and of few numbers each.
struct Small(Vec<(String, Param)>);

impl Module for Small {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.iter().for_each(|(path, param)| visitor.parameter(path, param));
    }
}

/// What an optimizer makes of small parameters of the model's names in a few steps, at a rate of its own: a number for each.
fn of_optimizer(optimizer: &dyn Optimizer, model: &dyn Module) -> Result<Vec<f64>> {
    let small = |(number, (path, param)): (usize, (String, Param))| {
        let sizes: Vec<usize> = param.shape().sizes().iter().map(|size| (*size).min(2)).collect();
        let count = sizes.iter().product();
        let own = Param::new(&Tensor::from_data(Data::F32(pattern(count, number)), sizes));
        own.freeze(param.is_frozen());
        (path, own)
    };
    let small = Small(model.parameters().into_iter().enumerate().map(small).collect());
    if small.0.iter().all(|(_, param)| param.is_frozen()) {
        return Ok(Vec::new());
    }
    let mut step = Step::train(&small, optimizer, |small, _, [x]: [Tensor; 1]| {
        let losses = small.0.iter().map(|(_, param)| {
            let value = param.tensor();
            // Every other number has a slope so small that what is added to keep from dividing by zero shows.
            let count = value.shape().elements();
            let slopes = (0..count).map(|at| if at % 2 == 0 { 1.0 } else { 1e-7 }).collect();
            let slopes = Tensor::from_data(Data::F32(slopes), value.shape());
            ((&value * &x + &value * &value * 0.5) * slopes).sum(..)
        });
        losses.reduce(|all, one| all + one).unwrap_or_else(|| Tensor::from(0.0))
    });
    step.set_rate(0.1)?;
    for x in [1.0f32, -2.0, 0.5, 3.0] {
        step.run([Input::new(&[x], &[])])?;
    }
    let mut sums = Vec::with_capacity(small.0.len());
    for (_, param) in &small.0 {
        let numbers = param.tensor().cast(DType::F64).to_vec::<f64>()?;
        sums.push(numbers.iter().enumerate().map(|(at, number)| number * (1.0 + at as f64)).sum());
    }
    Ok(sums)
}

/// What a schedule says at some updates, of so many.
pub(super) fn schedule(schedule: Option<&dyn Schedule>, updates: u64) -> Value {
    let factor =
        |at: u64| schedule.map_or(1.0, |schedule| schedule.factor(at * updates.saturating_sub(1) / 16));
    json!({ "updates": updates, "factors": (0..=16).map(factor).collect::<Vec<_>>() })
}

/// How many updates a schedule in a checkpoint was asked about.
pub(super) fn updates(schedule: &Value) -> Option<u64> {
    schedule.get("updates")?.as_u64()
}

/// Whether two values of a part are the same: numbers that were computed, up to how they were rounded.
fn same(name: &str, a: &Value, b: &Value) -> bool {
    let near = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1e-3);
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if matches!(name, "loss" | "optimizer") => {
            near(a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN))
        }
        (Value::Array(a), Value::Array(b)) if name == "optimizer" => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(name, a, b))
        }
        (Value::String(a), Value::String(b)) if name == "layers" => {
            a.lines().count() == b.lines().count() && a.lines().zip(b.lines()).all(|(a, b)| same_layer(a, b))
        }
        _ => a == b,
    }
}

/// Whether two lines are of the same layer, whose words may be those of different versions.
fn same_layer(a: &str, b: &str) -> bool {
    fn parts(line: &str) -> Option<(&str, &str, &str)> {
        let (path, rest) = line.split_once(' ')?;
        let (title, shape) = rest.rsplit_once(": ")?;
        Some((path, title, shape))
    }
    let alike = |a: (&str, &str, &str), b: (&str, &str, &str)| (a.0, a.2) == (b.0, b.2) && alike(a.1, b.1);
    a == b || parts(a).zip(parts(b)).is_some_and(|(a, b)| alike(a, b))
}

/// The part that a value of a checkpoint belongs to.
fn part_of(name: &str) -> &str {
    match name {
        "rows" => "data",
        "dropping the last batch" => "batch size",
        name => name,
    }
}

/// The parts that differ, of which all must be `allowed`. What a checkpoint of an earlier version doesn't say isn't asked.
pub(super) fn changed(
    then: &Map<String, Value>,
    now: &Map<String, Value>,
    allowed: &[String],
) -> Result<Vec<&'static str>> {
    let differs = |name: &str| !same(name, &then[name], now.get(name).unwrap_or(&Value::Null));
    let (mut parts, mut refused, mut what) = (Vec::new(), Vec::new(), Vec::new());
    for part in PARTS {
        let names = then.keys().filter(|name| part_of(name) == part && differs(name));
        let differences: Vec<String> =
            names.map(|name| difference(name, &then[name], now.get(name).unwrap_or(&Value::Null))).collect();
        if differences.is_empty() {
            continue;
        }
        match allowed.iter().any(|allowed| allowed == part) {
            true => parts.push(part),
            false => {
                refused.push(part);
                what.push(differences.join(", "));
            }
        }
    }
    match refused.is_empty() {
        true => Ok(parts),
        false => Err(Error::Changed { parts: refused, what: what.join("; ") }),
    }
}

/// How two values differ, in a few words.
fn difference(name: &str, then: &Value, now: &Value) -> String {
    let shown = |value: &Value| match value {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match (name, then, now) {
        ("data" | "validation data", Value::String(_), Value::String(_)) => {
            format!("{name}: other rows than those of the checkpoint")
        }
        ("layers", Value::String(then), Value::String(now)) => {
            let lines = then.lines().map(Some).chain(std::iter::repeat(None));
            let others = now.lines().map(Some).chain(std::iter::repeat(None));
            let longest = then.lines().count().max(now.lines().count());
            let differs = lines.zip(others).take(longest).find(|(then, now)| match (then, now) {
                (Some(then), Some(now)) => !same_layer(then, now),
                _ => true,
            });
            let (then, now) = differs.unwrap_or_default();
            format!("layers: {} then, {} now", then.unwrap_or("none"), now.unwrap_or("none"))
        }
        ("loss" | "optimizer" | "step" | "schedule", ..) => format!("{name}: not the one of the checkpoint"),
        _ => format!("{name}: {} then, {} now", shown(then), shown(now)),
    }
}
