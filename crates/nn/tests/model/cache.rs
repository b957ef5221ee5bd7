//! Sequences that come in parts: step by step with a cache is the same as all steps at once, for each layer of the table that says so; and
//! each that doesn't say so can't.

use kiln_ir::random::uniform;
use kiln_nn::sequential::{Takes, words};
use kiln_nn::{Cache, Context, DType, Function, Input, Layer, Module, Sequential, Shape, Tensor, TimeAxis};

const ROWS: usize = 2;
const STEPS: usize = 6;
const WIDTH: usize = 4;
/// What the table's learnt positions have room for.
const CAPACITY: usize = 8;

/// What the layers are of.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Values {
    Features,
    Codes,
}

impl Values {
    /// Steps of both sequences, `[rows, steps, …]`.
    fn steps(self, from: usize, count: usize) -> Tensor {
        let (width, at) =
            (self.width(), |row: usize, step: usize, i: usize| (row * 97 + step * WIDTH + i) as i64);
        let number = |place: usize| {
            let (row, rest) = (place / (count * width), place % (count * width));
            4.0 * uniform(5, at(row, from + rest / width, rest % width)) - 2.0
        };
        let numbers: Vec<f32> = (0..ROWS * count * width).map(number).collect();
        let x = Tensor::new(numbers, [ROWS, count, width]);
        match self {
            Values::Features => x,
            Values::Codes => (x + 2.0).floor().cast(DType::I64).squeeze(2),
        }
    }

    fn width(self) -> usize {
        if self == Values::Codes { 1 } else { WIDTH }
    }
}

/// Layers of a text, made, with numbers that aren't their first ones where those hide something (norms' shifts, running means).
fn made(text: &str, values: Values) -> Result<Sequential, String> {
    let row: Sequential = text.parse().map_err(|error| format!("{text}: {error}"))?;
    match row.forward(&values.steps(0, STEPS), &Context::inference()).error() {
        Some(error) => Err(format!("{text}: {error}")),
        None => Ok(row),
    }
}

fn whole(model: &Sequential, x: &Tensor) -> Tensor {
    model.forward(x, &Context::inference())
}

/// A tensor's numbers as an input has them.
fn run(function: &mut Function<1>, x: &Tensor) -> Result<Vec<f32>, String> {
    let shape = x.shape().to_vec();
    let out = match x.dtype() {
        DType::I64 => function.run([Input::new(&x.to_vec::<i64>().unwrap(), &shape)]),
        _ => function.run([Input::new(&x.to_vec::<f32>().unwrap(), &shape)]),
    };
    out.map(|out| out[0].as_slice::<f32>().unwrap().to_vec()).map_err(|error| error.to_string())
}

/// Layers with their sequences in axis 1 or, behind a transpose, in axis 2: whatever of the table takes sequences or codes.
fn all() -> Vec<(String, Values)> {
    let mut all = Vec::new();
    for word in words() {
        for (takes, example) in word.examples {
            match takes {
                Takes::Sequences | Takes::Rows => {
                    all.push((example.to_string(), Values::Features));
                    all.push((format!("transpose, {example}"), Values::Features));
                }
                Takes::Codes => all.push((example.to_string(), Values::Codes)),
                Takes::Columns | Takes::Images | Takes::Volumes => {}
            }
        }
    }
    let rows = [
        "dense 4, sinusoidal-positions, transformer 2 causal, layer-norm, dense 5, transpose",
        "transpose, conv 6 1, residual(conv 6 3 padding 4:0 dilation 2, relu, conv 6 1), relu, conv 5 1",
        "transpose, residual(conv 6 2 padding 1:0)",
        "gru 6, parallel-sum(dense 5, lstm 5 layers 2)",
        "transpose, parallel(conv 3 2 padding 1:0, conv 3 3 padding 2:0), transpose, attention 2 causal",
    ];
    all.extend(rows.map(|row| (row.to_string(), Values::Features)));
    all
}

#[test]
fn steps_in_parts_give_the_bits_of_all_steps_at_once() {
    let (mut good, mut tried) = (Vec::new(), 0);
    for (text, values) in all() {
        // Some take sequences in the other axis.
        let Ok(model) = made(&text, values) else { continue };
        tried += 1;
        let time = TimeAxis { axis: 1, rank: values.steps(0, 1).rank() };
        let x = values.steps(0, STEPS);
        let y = whole(&model, &x);
        let time = match model.time_axis(time) {
            Ok(time) => time,
            Err(_) => {
                assert!(!looks_only_back(&model, values, &y), "{text} doesn't look ahead");
                continue;
            }
        };
        good.push(text.clone());
        assert_eq!((y.rank(), y.size(time.axis as isize)), (time.rank, STEPS), "{text}");
        let cache = Cache::new(ROWS, CAPACITY);
        let mut go_on = Function::cached(&model, &cache, |model, cx, [x]| model.forward(&x, cx));
        for parts in [&[1; STEPS][..], &[3, 1, 2], &[STEPS]] {
            let mut at = 0;
            for &count in parts {
                let found = run(&mut go_on, &values.steps(at, count))
                    .unwrap_or_else(|error| panic!("{text}: {error}"));
                let expected = y.narrow(time.axis as isize, at as isize, count).to_vec::<f32>().unwrap();
                assert_eq!(found, expected, "{text}: steps {at}..{} of {parts:?}", at + count);
                at += count;
            }
            assert_eq!(cache.lengths().unwrap(), [STEPS; ROWS]);
            cache.reorder(&[None; ROWS]).unwrap();
        }
    }
    enough(&good, tried);
}

/// A test that skips what it is for would pass.
fn enough(good: &[String], tried: usize) {
    assert!(good.len() >= 50 && tried > good.len() + 20, "{} of {tried}: {good:?}", good.len());
}

/// Whether the first steps alone give what they give with later ones behind them.
fn looks_only_back(model: &Sequential, values: Values, y: &Tensor) -> bool {
    let first = whole(model, &values.steps(0, STEPS / 2));
    if first.error().is_some() || first.rank() != y.rank() {
        return false;
    }
    let axes: Vec<usize> = (0..y.rank()).filter(|&axis| y.shape()[axis] != first.shape()[axis]).collect();
    let [axis] = axes[..] else { return false };
    let alike = y.size(axis as isize) == STEPS && first.size(axis as isize) == STEPS / 2;
    alike && y.narrow(axis as isize, 0, STEPS / 2).to_vec::<f32>().unwrap() == first.to_vec::<f32>().unwrap()
}

#[test]
fn sequences_that_wait_or_change_places_stay_as_they_are() {
    let text = "dense 4, sinusoidal-positions, transformer 2 causal, gru 6, transpose, conv 5 3 padding 2:0, transpose";
    let model = made(text, Values::Features).unwrap();
    let y = whole(&model, &Values::Features.steps(0, STEPS)).to_vec::<f32>().unwrap();
    let width = y.len() / ROWS / STEPS;
    let of = |row: usize, step: usize| y[(row * STEPS + step) * width..][..width].to_vec();
    let cache = Cache::new(ROWS, CAPACITY);
    let mut go_on = Function::cached(&model, &cache, |model, cx, [x]| model.forward(&x, cx));
    let mut step = |place: [usize; ROWS]| -> Vec<f32> {
        let mut x = Vec::new();
        for (row, place) in place.into_iter().enumerate() {
            x.extend(Values::Features.steps(place, 1).at(row as isize).to_vec::<f32>().unwrap());
        }
        go_on.run([Input::new(&x, &[ROWS, 1, WIDTH])]).unwrap()[0].as_slice::<f32>().unwrap().to_vec()
    };
    // The second waits; what stands in its row meanwhile has no influence.
    cache.activate(&[true, false]).unwrap();
    assert_eq!(step([0, 5])[..width], of(0, 0));
    assert_eq!(step([1, 3])[..width], of(0, 1));
    cache.activate(&[true, true]).unwrap();
    let both = step([2, 0]);
    assert_eq!((&both[..width], &both[width..]), (&of(0, 2)[..], &of(1, 0)[..]));
    assert_eq!(cache.lengths().unwrap(), [3, 1]);
    // Both places go on from the first; the second from nothing.
    cache.reorder(&[Some(0), Some(0)]).unwrap();
    let both = step([3, 3]);
    assert_eq!(both[..width], of(0, 3));
    assert_eq!(cache.lengths().unwrap(), [4, 4]);
    cache.reorder(&[Some(1), None]).unwrap();
    assert_eq!(step([4, 0])[width..], of(1, 0));
    assert!(cache.reorder(&[Some(0)]).unwrap_err().to_string().contains("isn't a sequence among 2"));
    assert!(cache.activate(&[true]).is_err());
}

#[test]
fn what_a_cache_cant_hold_is_refused() {
    let error = |text: &str, rows: usize, capacity: usize, steps: usize| {
        let model = made(text, Values::Features).unwrap();
        let cache = Cache::new(rows, capacity);
        let mut go_on = Function::cached(&model, &cache, |model, cx, [x]| model.forward(&x, cx));
        let x = Values::Features.steps(0, steps);
        run(&mut go_on, &x).unwrap_err()
    };
    let ahead = error("dense 4, attention 2", ROWS, CAPACITY, 1);
    assert!(ahead.contains("layer 1: MultiHeadAttention may look at steps that come later"), "{ahead}");
    let rows = error("attention 2 causal", 3, CAPACITY, 1);
    assert!(rows.contains("inputs should be [3 rows, steps, …]"), "{rows}");
    let long = error("attention 2 causal", ROWS, 4, 5);
    assert!(long.contains("out of range") || long.contains("outside"), "{long}");
    let places = error("positions 8", ROWS, 9, 1);
    assert!(places.contains("doesn't cover 9 steps"), "{places}");
    // Of another model.
    let cache = Cache::new(ROWS, CAPACITY);
    for (text, is_good) in [("lstm 3", true), ("lstm 5", false)] {
        let model = made(text, Values::Features).unwrap();
        let mut go_on = Function::cached(&model, &cache, |model, cx, [x]| model.forward(&x, cx));
        assert_eq!(run(&mut go_on, &Values::Features.steps(0, 1)).is_ok(), is_good, "{text}");
    }
    // A struct of one's own that doesn't say.
    struct Own(Sequential);
    impl Module for Own {
        fn visit(&self, visitor: &mut kiln_nn::Visitor) {
            self.0.visit(visitor);
        }
    }
    impl Layer for Own {
        fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
            self.0.forward(x, context)
        }
    }
    let own = Own(made("gru 3", Values::Features).unwrap());
    let cache = Cache::new(ROWS, CAPACITY);
    let mut go_on = Function::cached(&own, &cache, |model, cx, [x]| model.forward(&x, cx));
    let error = run(&mut go_on, &Values::Features.steps(0, 1)).unwrap_err();
    assert!(error.contains("Own may look at steps"), "{error}");
    let _: Shape = own.0.build([ROWS, STEPS, WIDTH]).unwrap();
}
