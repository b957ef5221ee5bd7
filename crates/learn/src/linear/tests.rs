//! Linear models beside scikit-learn's, whose values `reference.py` made.

use kiln_data::{Curve, Dataset, Form, Set, Unit};
use kiln_nn::{Context, Layer, Module, Sequential, Tensor};
use serde_json::Value;

use super::*;

fn reference() -> Value {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn singles(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

/// The rows with one of their targets, a class where there are so many.
fn set(reference: &Value, target: &str, classes: usize) -> Set {
    let (x, form) = (singles(&reference["x"]), Form::numbers(&[5]));
    match classes {
        0 => Set::numbers(x, form, singles(&reference[target]), 1).unwrap(),
        count => {
            let labels: Vec<i64> = numbers(&reference[target]).iter().map(|class| *class as i64).collect();
            Set::new(x, form, labels, Form::class(count)).unwrap()
        }
    }
}

/// The weights `[outputs, inputs]` and the biases of a dense layer alone.
fn weights(layers: &Sequential) -> (Vec<Vec<f64>>, Vec<f64>) {
    let each: Vec<Vec<f64>> = layers
        .parameters()
        .iter()
        .map(|(_, own)| own.tensor().to_vec::<f32>().unwrap().into_iter().map(f64::from).collect())
        .collect();
    let [weight, bias] = each.as_slice() else { panic!("{}", layers.to_text().unwrap()) };
    let outputs = bias.len();
    let of = |output: usize| weight.iter().skip(output).step_by(outputs).copied().collect();
    ((0..outputs).map(of).collect(), bias.clone())
}

fn near(own: &[f64], theirs: &[f64], within: f64, what: &str) {
    assert_eq!(own.len(), theirs.len(), "{what}");
    for (own, theirs) in own.iter().zip(theirs) {
        assert!((own - theirs).abs() < within * (1.0 + theirs.abs()), "{what}: {own} beside {theirs}");
    }
}

/// Each option with what scikit-learn makes of it.
#[test]
fn weights_are_those_of_scikit_learn() {
    let reference = reference();
    let folds: Vec<u8> = numbers(&reference["fold"]).iter().map(|fold| *fold as u8).collect();
    let told = |strength: f64, penalty| {
        LinearOptions::new().fold_of(folds.clone()).penalty(penalty).strength(strength)
    };
    let signs =
        [WeightSign::Falling, WeightSign::Rising, WeightSign::Free, WeightSign::Free, WeightSign::Free];
    let l2 = told(2.0, Penalty::L2);
    for (name, target, classes, options) in [
        ("ridge", "number", 0, l2.clone()),
        ("lasso", "number", 0, told(0.1, Penalty::L1)),
        ("signed", "number", 0, l2.clone().signs(signs)),
        ("logistic", "two", 2, l2.clone()),
        ("balanced", "two", 2, l2.clone().balanced(true)),
        ("logit_signed", "two", 2, l2.clone().signs(signs)),
        ("softmax", "classes", 3, l2.clone()),
    ] {
        let set = set(&reference, target, classes);
        let (layers, chosen) = fit_and_tell(&set, &Task::of(&set), &options).unwrap();
        let (mut own, mut biases) = weights(&layers);
        if let ([first, second], 2) = (own.clone().as_slice(), classes) {
            own = vec![first.iter().zip(second).map(|(first, second)| second - first).collect()];
            biases = vec![biases[1] - biases[0]];
        }
        let theirs = &reference[name];
        let all: Vec<f64> = theirs["weights"].as_array().unwrap().iter().flat_map(numbers).collect();
        near(&own.concat(), &all, 2e-5, name);
        if let Some(theirs) = theirs.get("biases") {
            let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
            // All logits may be moved by the same.
            let moved = if classes > 2 { mean(&biases) - mean(&numbers(theirs)) } else { 0.0 };
            biases.iter_mut().for_each(|bias| *bias -= moved);
            near(&biases, &numbers(theirs), 2e-5, name);
        }
        if let Some(loss) = theirs.get("loss") {
            near(&[chosen[0].loss], &[loss.as_f64().unwrap()], 1e-5, name);
        }
    }
}

/// What a target that is learned so asks for.
fn asked(curve: Curve, interval: Option<f64>) -> Task {
    let names = vec!["y".to_string()];
    Task::Numbers { names, scale: vec![1.0], offset: vec![0.0], curves: vec![curve], interval }
}

#[test]
fn counts_are_poisson_regressions_and_intervals_quantiles() {
    let reference = reference();
    let counts = set(&reference, "count", 0);
    let options = LinearOptions::new().strength(2.0);
    let (own, biases) = weights(&fit(&counts, &asked(Curve::Count, None), &options).unwrap());
    near(&own[0], &numbers(&reference["poisson"]["weights"][0]), 2e-5, "poisson");
    near(&biases, &numbers(&reference["poisson"]["biases"]), 2e-5, "poisson");

    let set = set(&reference, "number", 0);
    let options = LinearOptions::new().strength(1e-6);
    let (own, biases) = weights(&fit(&set, &asked(Curve::Straight, Some(0.8)), &options).unwrap());
    let theirs = &reference["quantile"];
    // A vertex of a flat bottom, which the smooth loss comes near.
    near(&own[2], &numbers(&theirs["weights"][0]), 0.05, "quantile");
    near(&biases[2..], &numbers(&theirs["biases"]), 0.05, "quantile");
    let x = singles(&reference["x"]);
    let below = |output: usize| {
        let said = x.chunks(5).map(|row| {
            row.iter().zip(&own[output]).map(|(x, weight)| f64::from(*x) * weight).sum::<f64>()
                + biases[output]
        });
        said.zip(numbers(&reference["number"])).filter(|(said, truth)| truth < said).count()
    };
    let (low, middle, high) = (below(0), below(1), below(2));
    assert!(
        (7..=12).contains(&low) && (42..=48).contains(&middle) && (78..=83).contains(&high),
        "{low} {middle} {high}"
    );
}

#[test]
fn rows_count_by_their_weights() {
    let reference = reference();
    let weighted = set(&reference, "number", 0).weighted(singles(&reference["weight"])).unwrap();
    let options = LinearOptions::new().penalty(Penalty::L2).strength(2.0);
    let (own, biases) = weights(&fit(&weighted, &Task::of(&weighted), &options).unwrap());
    near(&own[0], &numbers(&reference["weighted"]["weights"][0]), 2e-5, "weighted");
    near(&biases, &numbers(&reference["weighted"]["biases"]), 2e-5, "weighted");
}

/// Rows of which so many features tell something of a number.
fn made(rows: usize, features: usize, telling: usize, noise: f64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = kiln_data::Rng::new(3);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let own: Vec<f64> = (0..features).map(|_| rng.normal()).collect();
        y.push((own[..telling].iter().sum::<f64>() + noise * rng.normal()) as f32);
        x.extend(own.into_iter().map(|value| value as f32));
    }
    (x, y)
}

#[test]
fn few_telling_inputs_among_many_are_found_by_l1_and_many_weak_ones_by_l2() {
    let (x, y) = made(120, 80, 3, 0.5);
    let sparse = Set::numbers(x, Form::numbers(&[80]), y, 1).unwrap();
    let (_, chosen) = fit_and_tell(&sparse, &Task::of(&sparse), &LinearOptions::new()).unwrap();
    assert_eq!(chosen[0].penalty, Penalty::L1);
    assert!((3..40).contains(&chosen[0].kept), "{chosen:?}");
    let (x, y) = made(120, 80, 80, 5.0);
    let dense = Set::numbers(x, Form::numbers(&[80]), y, 1).unwrap();
    let (_, chosen) = fit_and_tell(&dense, &Task::of(&dense), &LinearOptions::new()).unwrap();
    assert_eq!((chosen[0].penalty, chosen[0].kept), (Penalty::L2, 80));
}

/// Codes as they are, and the same as columns of 0 and 1.
#[test]
fn codes_weigh_as_the_columns_of_their_words_do() {
    let mut rng = kiln_data::Rng::new(5);
    let (mut coded, mut hot, mut y, mut class) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..300 {
        let (amount, first, second) = (rng.normal() as f32, rng.below(3), rng.below(4));
        coded.extend([amount, first as f32, second as f32]);
        hot.push(amount);
        hot.extend((0..3).map(|at| f32::from(u8::from(at == first))));
        hot.extend((0..4).map(|at| f32::from(u8::from(at == second))));
        let score = f64::from(amount) + [0.0, 2.0, -1.0][first] + second as f64 * 0.3 + 0.3 * rng.normal();
        y.push(score as f32);
        class.push(if score < 0.0 { 0 } else { 1 + i64::from(score > 1.5) });
    }
    let number = |x: &[f32], width| Set::numbers(x.to_vec(), Form::numbers(&[width]), y.clone(), 1).unwrap();
    let classes = |x: &[f32], width| {
        Set::new(x.to_vec(), Form::numbers(&[width]), class.clone(), Form::class(3)).unwrap()
    };
    for (with_codes, with_columns) in
        [(number(&coded, 3), number(&hot, 8)), (classes(&coded, 3), classes(&hot, 8))]
    {
        let options = LinearOptions::new().penalty(Penalty::L2).strength(0.5);
        let task = Task::of(&with_codes);
        let first = fit(&with_codes, &task, &options.clone().codes([3, 4])).unwrap();
        let second = fit(&with_columns, &task, &options).unwrap();
        let said = |layers: &Sequential, x: &[f32], width: usize| {
            let y = layers.forward(&Tensor::new(x.to_vec(), [300, width]), &Context::inference());
            y.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect::<Vec<_>>()
        };
        near(&said(&first, &coded, 3), &said(&second, &hot, 8), 1e-4, "codes");
        assert!(first.to_text().unwrap().starts_with("embed-columns 3:"));
    }
}

#[test]
fn many_rows_give_the_same_bits_with_any_number_of_threads() {
    let (x, y) = made(9000, 12, 6, 1.0);
    let labels: Vec<i64> = y.iter().map(|y| i64::from(*y > 0.0) + i64::from(*y > 2.0)).collect();
    let sets = [
        Set::numbers(x.clone(), Form::numbers(&[12]), y, 1).unwrap(),
        Set::new(x, Form::numbers(&[12]), labels, Form::class(3)).unwrap(),
    ];
    let before = kiln_nn::threads();
    for set in &sets {
        let mut bits = Vec::new();
        for threads in [1, 3] {
            kiln_nn::set_threads(threads).unwrap();
            let layers = fit(set, &Task::of(set), &LinearOptions::new()).unwrap();
            let parameters = layers.parameters();
            let each = parameters.iter().flat_map(|(_, own)| own.tensor().to_vec::<f32>().unwrap());
            bits.push(each.map(f32::to_bits).collect::<Vec<_>>());
        }
        assert_eq!(bits[0], bits[1]);
    }
    kiln_nn::set_threads(before).unwrap();
}

#[test]
fn what_does_not_suit_is_refused_with_the_mend() {
    let reference = reference();
    let (number, classes) = (set(&reference, "number", 0), set(&reference, "classes", 3));
    let says =
        |set: &Set, options: LinearOptions| fit(set, &Task::of(set), &options).unwrap_err().to_string();
    let options = LinearOptions::new;
    for (set, options, said) in [
        (&classes, options().penalty(Penalty::L1), "intervals have L2"),
        (&classes, options().signs([WeightSign::Rising; 5]), "two classes"),
        (&number, options().signs([WeightSign::Rising]), "a row has 5"),
        (&number, options().fold_of(vec![0, 1]), "there are 90"),
        (&number, options().codes([2]).signs([WeightSign::Rising; 5]), "no more and less"),
        (&number, options().codes([2; 9]), "9 columns of codes in rows of 5"),
    ] {
        let message = says(set, options);
        assert!(message.contains(said), "{message}");
    }
    let one = number.subset(vec![0]);
    let error = fit(&one, &Task::of(&one), &options()).unwrap_err().to_string();
    assert!(error.contains("two rows"), "{error}");
}

/// Inputs that are the same in all rows, that stand twice, or of which there are more than rows.
#[test]
fn awkward_rows_have_finite_weights() {
    let (x, y) = made(6, 20, 2, 0.1);
    let doubled: Vec<f32> =
        x.chunks(20).flat_map(|row| row.iter().chain(row).copied().chain([1.0])).collect();
    let wide = Set::numbers(doubled.clone(), Form::numbers(&[41]), y.clone(), 1).unwrap();
    let labels: Vec<i64> = y.iter().map(|y| i64::from(*y > 0.0)).collect();
    let parted = Set::new(doubled, Form::numbers(&[41]), labels, Form::class(2)).unwrap();
    for set in [&wide, &parted] {
        let layers = fit(set, &Task::of(set), &LinearOptions::new()).unwrap();
        for (path, own) in layers.parameters() {
            assert!(own.tensor().to_vec::<f32>().unwrap().iter().all(|weight| weight.is_finite()), "{path}");
        }
    }
}

#[test]
fn prices_are_found_to_want_a_logarithm_and_sums_are_not() {
    let (x, score) = made(800, 4, 3, 0.3);
    let set = |of: fn(f64) -> f64| {
        let y: Vec<f32> = score.iter().map(|score| of((*score).into()) as f32).collect();
        Set::numbers(x.clone(), Form::numbers(&[4]), y, 1).unwrap()
    };
    let log = Unit { scale: 1.0, offset: 0.0, curve: Curve::Log { unit: 1e-3, factor: 1.0 } };
    let prices = set(libm::exp);
    let found = skew(&prices, &[], (0, Unit::PLAIN), log, 7).unwrap().unwrap();
    assert!(found.wants_log() && found.skewness > 2.0, "{found:?}");
    // Skewed by itself, and a sum of its inputs all the same.
    let squares = set(|score| 10.0 + score);
    assert_eq!(skew(&squares, &[], (0, Unit::PLAIN), log, 7).unwrap(), None);
    let (x, _) = made(800, 4, 3, 0.3);
    let (mut waits, mut y) = (Vec::new(), Vec::new());
    for row in x.chunks(4) {
        let own: Vec<f64> = row.iter().map(|x| libm::exp(f64::from(*x))).collect();
        y.push(own.iter().sum::<f64>() as f32);
        waits.extend(own.into_iter().map(|x| x as f32));
    }
    let sums = Set::numbers(waits, Form::numbers(&[4]), y, 1).unwrap();
    let found = skew(&sums, &[], (0, Unit::PLAIN), log, 7).unwrap();
    assert!(found.is_none_or(|found| !found.wants_log()), "{found:?}");
}
