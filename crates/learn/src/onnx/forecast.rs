//! Series' preparation as part of a graph: the window of raw values that a forecast looks at comes in, with what is known of the steps; the numbers of
//! the next steps come out, with their bounds. Scaling by the window, what sums it up, the same seasons and the way back are in the graph; the
//! calendar comes in as numbers.

use kiln_data::{Dataset as _, Rng};
use kiln_nn::{Context, DType, Data, Layer, Tensor};
use kiln_onnx::export::{BATCH, Builder, ModelInput, Size, write};
use kiln_onnx::{OnnxDType, Value};

use crate::forecast::{Baseline, BaselineShare, ForecastPreparation, SeasonPlaces};
use crate::{Error, Model, Result};

/// What a graph takes: its name, and the sizes behind the batch.
fn inputs_of(plan: &ForecastPreparation) -> Vec<(&'static str, Vec<usize>)> {
    let mut inputs = vec![("history", vec![plan.window])];
    if plan.told_width() > 0 {
        inputs.push(("steps", vec![plan.horizon, plan.told_width()]));
    }
    if plan.known_width() > 0 {
        inputs.push(("season_before", vec![plan.horizon, plan.known_width()]));
    }
    inputs
}

/// Writes the whole way from raw values to raw values.
pub(super) fn graph(
    builder: &mut Builder,
    model: &Model,
    plan: &ForecastPreparation,
    fold: bool,
) -> Result<()> {
    let inputs: Vec<ModelInput> = inputs_of(plan)
        .into_iter()
        .map(|(name, sizes)| {
            let batch = std::iter::once(Size::Named(BATCH.to_string()));
            let sizes: Vec<Size> = batch.chain(sizes.into_iter().map(Size::Fixed)).collect();
            ModelInput { name: builder.input(name, OnnxDType::F32, &sizes), sizes, dtype: DType::F32 }
        })
        .collect();
    let repeats = |own: &BaselineShare| own.baseline == Baseline::SeasonalNaive;
    if let Some(own) = plan.baselines.iter().find(|own| !repeats(own)) {
        return Err(Error::Preparation(format!(
            "{:.0} % of the forecast is {}, which is fitted anew to each series and has no form in ONNX; a model of --preset has no such share, and \
             --without-preprocessing writes the layers alone",
            100.0 * own.share,
            own.baseline
        )));
    }
    let layers = model.written();
    let outputs = write(builder, &|given: &[Tensor]| forward(plan, &*layers, given), &inputs, fold)?;
    let sizes = [Size::Named(BATCH.to_string()), Size::Fixed(plan.horizon)];
    for (output, name) in outputs.iter().zip(["forecast", "low", "high"]) {
        builder.output(&output.name, name, OnnxDType::F32, &sizes);
    }
    Ok(())
}

/// What the file says of its inputs.
pub(super) fn words(plan: &ForecastPreparation) -> Vec<(String, String)> {
    let mut words = vec![(
        "history".to_string(),
        format!("the last {} values of {}, the oldest first, {}", plan.window, plan.target, plan.frequency),
    )];
    let calendar: Vec<&str> = plan.calendar.iter().map(|part| part.name()).collect();
    if plan.told_width() > 0 {
        let known = plan.known.as_ref().map_or(Vec::new(), |known| known.feature_names());
        let turns = "sine and cosine of one turn, then of two, for each of: ";
        words.push((
            "steps".to_string(),
            format!(
                "of each step forecast: {turns}{}; then, scaled as in training: {}",
                calendar.join(", "),
                known.join(", ")
            ),
        ));
    }
    words
}

/// From raw values to raw values, as [`SeriesRow`](crate::forecast::SeriesRow) goes it.
fn forward(plan: &ForecastPreparation, layers: &dyn Layer, given: &[Tensor]) -> Vec<Tensor> {
    let (window, horizon) = (plan.window as isize, plan.horizon);
    let raw = &given[0];
    let values = if plan.log { raw.ln() } else { raw.clone() };
    let rows = raw.size(0);
    let mean = |x: &Tensor| x.mean_keepdim(1);
    let last = |count: usize| values.narrow(1, window - count as isize, count);
    let late = last(plan.late());
    let level = mean(&late);
    let middle = mean(&values);
    let spread = mean(&(&values - &middle).abs());
    let scale = spread.maximum(&(mean(&values.abs()) * 1e-4));
    let scale = scale.gt(0.0).select(&scale, 1.0);
    let scaled = |x: &Tensor| (x - &level) / &scale;
    let half = plan.window / 2;
    let behind = mean(&last(plan.window - half));
    let rise = if half > 0 { behind - mean(&values.narrow(1, 0, half)) } else { behind };
    let difference = if plan.window > 1 { last(1) - last(2).narrow(1, 0, 1) } else { last(1) * 0.0 };
    let figures = [
        scaled(&middle),
        scaled(&mean(&last(3.min(plan.window)))),
        difference / &scale,
        mean(&(&late - &level).abs()) / &scale,
        rise / &scale,
        mean(&values.eq(0.0).cast(DType::F32)),
    ];
    let column = |values: Vec<f32>| {
        let width = values.len() / horizon;
        Tensor::new(values, [1, horizon, width]).broadcast_to([rows, horizon, width])
    };
    let numbers = (1..=horizon).map(|step| step as f32 / horizon as f32).collect();
    let mut steps = vec![column(numbers)];
    let mut base = None;
    for &period in &plan.periods {
        let places = SeasonPlaces { window: plan.window, period };
        let latest: Vec<i64> = (0..horizon).map(|step| places.of(step).next().unwrap_or(0) as i64).collect();
        let latest = values.index_select(1, &Tensor::new(latest, [horizon]));
        // Each step's mean of the same season, as one product with the window.
        let mut shares = vec![0f32; plan.window * horizon];
        for step in 0..horizon {
            let own: Vec<usize> = places.of(step).collect();
            own.iter().for_each(|place| shares[place * horizon + step] = 1.0 / own.len() as f32);
        }
        let means = scaled(&values).matmul(&Tensor::new(shares, [plan.window, horizon]));
        steps.extend([scaled(&latest).unsqueeze(-1), means.unsqueeze(-1)]);
        base.get_or_insert(latest);
    }
    steps.extend(given[1..].iter().cloned());
    let each = Tensor::concat(&steps, -1).reshape([rows as isize, (horizon * plan.step_width()) as isize]);
    let parts: Vec<Tensor> = std::iter::once(scaled(&values)).chain(figures).chain([each]).collect();
    // The seasonal naive forecast is an output of 0.
    let left = 1.0 - plan.baselines.iter().map(|own| own.share).sum::<f64>();
    let output = layers.forward(&Tensor::concat(&parts, 1), &Context::inference()) * left;
    let base = base.unwrap_or_else(|| level.clone());
    let number = |output: &Tensor| {
        let value = &base + &(output * &scale);
        if plan.log { value.exp() } else { value }
    };
    let mut all = vec![number(&output)];
    if let Some(bands) = &plan.bands {
        for side in [0, 1] {
            let offsets: Vec<f32> = bands.offsets.iter().map(|own| own[side] as f32).collect();
            all.push(number(&(&output + &Tensor::new(offsets, [1, horizon]))));
        }
    }
    all
}

/// Made histories as the graph takes them, and the numbers that kiln says of them.
pub(super) fn both(
    model: &Model,
    plan: &ForecastPreparation,
    rows: usize,
    rng: &mut Rng,
) -> Result<(Vec<Value>, Vec<f64>)> {
    let mut given: Vec<Vec<f32>> = inputs_of(plan).iter().map(|_| Vec::new()).collect();
    let mut series = Vec::new();
    for _ in 0..rows {
        let (size, mut values) = (10.0 * (0.1 + rng.uniform()), Vec::new());
        values.extend((0..plan.window).map(|_| (size * (1.0 + rng.uniform())) as f32));
        let told: Vec<f32> = (0..(plan.window + plan.horizon) * plan.told_width())
            .map(|_| rng.uniform() as f32 * 2.0 - 1.0)
            .collect();
        given[0].extend(&values);
        let own = plan.made(values.iter().map(|value| f64::from(*value)).collect(), told);
        let [steps, before] = plan.told_of(&own);
        let told = [(plan.told_width(), steps), (plan.known_width(), before)];
        let present = told.into_iter().filter(|(width, _)| *width > 0);
        given[1..].iter_mut().zip(present).for_each(|(input, (_, numbers))| input.extend(numbers));
        series.push(own);
    }
    let shaped = |(numbers, (_, sizes)): (Vec<f32>, (&str, Vec<usize>))| {
        let shape: Vec<usize> = std::iter::once(rows).chain(sizes).collect();
        Value::new(Data::F32(numbers), &shape, OnnxDType::F32)
    };
    let inputs = given.into_iter().zip(inputs_of(plan)).map(shaped).collect();
    let ends: Vec<(usize, usize)> = (0..rows).map(|row| (row, plan.window)).collect();
    let windows = crate::forecast::ForecastWindows::new(plan.clone().into(), series.into(), ends);
    let x = windows.all()?.x.as_f32().unwrap_or_default().to_vec();
    let y = model.layers().forward(&Tensor::new(x, [rows, plan.width()]), &Context::inference());
    let outputs = windows.mixed(&y.cast(DType::F32).to_vec::<f32>()?);
    let each = |row: usize| {
        outputs[row * plan.horizon..][..plan.horizon].iter().map(|output| f64::from(*output)).enumerate()
    };
    let mut own: Vec<f64> = (0..rows)
        .flat_map(|row| {
            each(row).map(|(step, output)| windows.row(row).number(step, output)).collect::<Vec<_>>()
        })
        .collect();
    for side in [0, 1] {
        let bound = |row: usize| {
            let row_of = windows.row(row);
            each(row)
                .filter_map(|(step, output)| Some(row_of.bounds(step, output)?[side]))
                .collect::<Vec<_>>()
        };
        own.extend((0..rows).flat_map(bound));
    }
    Ok((inputs, own))
}
