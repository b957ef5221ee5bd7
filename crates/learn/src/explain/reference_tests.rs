//! Explanations beside shap's and Captum's, whose values `reference.py` made.

use kiln_nn::{Data, Module, Sequential, Tensor};
use serde_json::Value;

use super::gradients::{Quadrature, Slopes, StraightPath, integrated_by};
use super::trees::{ForestParts, TreeGame, shapley};

fn reference() -> Value {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

/// All numbers of lists of lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

fn singles(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|number| number as f32).collect()
}

fn whole(value: &Value) -> Vec<i32> {
    numbers(value).into_iter().map(|number| number as i32).collect()
}

fn close(own: &[f64], theirs: &[f64], within: f64, what: &str) {
    assert_eq!(own.len(), theirs.len(), "{what}");
    let scale = theirs.iter().map(|value| value.abs()).fold(0.0, f64::max);
    for (own, theirs) in own.iter().zip(theirs) {
        assert!((own - theirs).abs() <= within * scale, "{what}: {own}, and there {theirs}");
    }
}

#[test]
fn trees_have_the_values_of_shap() {
    let reference = reference();
    let (x, background) = (singles(&reference["rows"]), singles(&reference["background"]));
    for (name, outputs) in [("number", 1), ("two", 2)] {
        let lists = &reference[name]["forest"];
        let (trees, nodes) = (whole(&lists["roots"]).len(), whole(&lists["columns"]).len());
        let row = Sequential::new().trees(outputs, trees, nodes);
        row.build([1, 6]).unwrap();
        for (path, state) in row.states() {
            let data = match path.trim_start_matches("0.") {
                name @ ("roots" | "columns" | "children" | "targets") => Data::I32(whole(&lists[name])),
                name @ ("thresholds" | "values") => Data::F32(singles(&lists[name])),
                _ => Data::F32(vec![0.0; outputs]),
            };
            state.write(&data).unwrap();
        }
        let weights: Vec<f64> =
            (0..12).flat_map(|_| (0..outputs).map(|at| f64::from(u8::from(at + 1 == outputs)))).collect();
        let player: Vec<usize> = (0..6).collect();
        let game = TreeGame {
            x: &x,
            background: &background,
            width: 6,
            player: &player,
            players: 6,
            weights: &weights,
            outputs,
        };
        let mut moved = vec![0.0; 12 * 6];
        shapley(&ForestParts::of(&row, "0").unwrap(), &game, &mut moved).unwrap();
        close(&moved, &numbers(&reference[name]["moved"]), 1e-6, name);
    }
}

#[test]
fn a_line_has_the_values_of_shap() {
    let reference = reference();
    let (x, background) = (singles(&reference["rows"]), singles(&reference["background"]));
    let weight = singles(&reference["line"]["weight"]);
    let (weights, player): (Vec<f64>, Vec<usize>) = (vec![1.0; 12], (0..6).collect());
    let game = TreeGame {
        x: &x,
        background: &background,
        width: 6,
        player: &player,
        players: 6,
        weights: &weights,
        outputs: 1,
    };
    let mut moved = vec![0.0; 12 * 6];
    super::exact::linear(&weight, &game, &mut moved).unwrap();
    close(&moved, &numbers(&reference["line"]["moved"]), 1e-6, "line");
}

#[test]
fn a_network_has_the_integrated_gradients_of_captum() {
    let reference = reference();
    let (x, background) = (singles(&reference["rows"]), singles(&reference["background"]));
    let row: Sequential = "dense 8, relu, dense 5, tanh, dense 3".parse().unwrap();
    row.build([1, 6]).unwrap();
    for ((_, parameter), stored) in
        row.parameters().iter().zip(reference["network"]["weights"].as_array().unwrap())
    {
        parameter.set(&Tensor::new(singles(stored), parameter.shape().clone())).unwrap();
    }
    let mean: Vec<f32> = (0..6).map(|at| background.iter().skip(at).step_by(6).sum::<f32>() / 40.0).collect();
    let mut slopes = Slopes::new(&row, 0, &[6], 3, |x, _, _| x.clone());
    for target in 0..3 {
        let weights: Vec<f64> = (0..3).map(|at| f64::from(u8::from(at == target))).collect();
        let ways: Vec<StraightPath> = x
            .chunks(6)
            .map(|to| StraightPath { from: &mean, to, weights: &weights, difference: 0.0 })
            .collect();
        let moved = integrated_by(&mut slopes, &ways, &Quadrature::new(1, 50)).unwrap().concat();
        close(&moved, &numbers(&reference["network"]["moved"][target]), 2e-5, &format!("class {target}"));
    }
}
