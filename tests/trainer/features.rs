//! What a frozen front makes of rows is computed once: the training is the same one.

use kiln::data::Set;
use kiln::prelude::*;
use kiln::schedule::Cosine;
use kiln::trainer::{features, rest_behind};

/// Every number that a model keeps, as bits.
fn bits(model: &Sequential) -> Vec<(String, Vec<u32>)> {
    let bits =
        |data: kiln::Data| data.as_slice::<f32>().unwrap().iter().map(|number| number.to_bits()).collect();
    let parameters = model.parameters().into_iter().map(|(path, param)| (path, bits(param.value().unwrap())));
    let states = model.states().into_iter().map(|(path, state)| (path, bits(state.read().unwrap())));
    parameters.chain(states).collect()
}

/// A training of a layer that is asked for everything a step may draw and change.
fn trainer<'a, M: Layer>(layer: M, valid: &'a dyn Dataset) -> Trainer<'a, M> {
    Trainer::new(layer, CrossEntropy::new().label_smoothing(0.1), AdamW::new(0.01))
        .epochs(3)
        .batch_size(24)
        .seed(4)
        .validate(valid)
        .metrics(["accuracy"])
        .schedule_over(Cosine::new)
        .quiet()
}

/// A model with statistics that aren't those it began with.
fn begun(layers: &str, set: &Set) -> Sequential {
    let model: Sequential = layers.parse::<Sequential>().unwrap();
    Trainer::new(&model, CrossEntropy::new(), Adam::new(0.01)).epochs(1).seed(2).quiet().fit(set).unwrap();
    model
}

#[test]
fn a_training_from_features_is_the_training_from_rows() {
    let digits = data::digits(100, 3);
    let flat = data::moons(100, 0.1, 3);
    // Layers, what is frozen, and how many numbers the front makes of a row.
    let conv = "conv 4 3 padding 1, batch-norm, relu, max-pool 2, conv 6 3 padding 1, batch-norm, relu, global-avg-pool, flatten, dense 16, relu, dense 10";
    let deep = "dense 12, relu, dropout 0.4, dense 9, tanh, dropout 0.2, dense 2";
    let cases: [(&str, &Set, &[&str], usize); 5] = [
        (conv, &digits, &["0.*", "1.*"], 4 * 14 * 14),
        (conv, &digits, &["0.*", "1.*", "4.*", "5.*"], 6),
        (conv, &digits, &["0.*"], 4 * 28 * 28),
        (deep, &flat, &["0.*"], 12),
        // The dropout in front of it differs from step to step.
        (deep, &flat, &["0.*", "3.*"], 12),
    ];
    for (layers, set, frozen, width) in cases {
        let whole = begun(layers, set);
        let copy = begun(layers, set);
        for model in [&whole, &copy] {
            frozen.iter().for_each(|pattern| assert!(model.freeze(pattern).unwrap() > 0));
        }
        let plain = trainer(&whole, set).fit(set).unwrap();
        let rest = rest_behind(&copy, set).unwrap().unwrap_or_else(|| panic!("{layers}: {frozen:?}"));
        let mut heard = 0;
        let kept = features(&rest, set, &mut |rows| {
            heard = rows;
            true
        });
        let kept = kept.unwrap();
        assert_eq!((kept.x().shape, heard), (vec![width], set.len()), "{layers}: {frozen:?}");
        let cached = trainer(&rest, &kept).fit(&kept).unwrap();
        for name in ["loss", "accuracy", "val_loss", "val_accuracy"] {
            let of = |run: &kiln::metrics::History| run.series(name).unwrap().to_vec();
            let (plain, cached) = (of(plain.history()), of(cached.history()));
            if !name.starts_with("val_") {
                assert_eq!(plain, cached, "{layers}: {frozen:?}: {name}");
            }
            // A norm right behind the front is part of the convolution before it where both are computed in one pass that doesn't train.
            let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * a.abs();
            assert!(plain.iter().zip(&cached).all(is_near), "{layers}: {frozen:?}: {name}");
        }
        assert_eq!(bits(&whole), bits(&copy), "{layers}: {frozen:?}");
    }
}

#[test]
fn nothing_is_kept_where_it_isnt_the_same_each_time() {
    let set = data::digits(40, 3);
    let varied = data::Augmented::new(data::digits(40, 3), "shift 2".parse().unwrap(), 0).unwrap();
    let none = |layers: &str, frozen: Option<&str>, set: &dyn Dataset| {
        let model = begun(layers, &data::digits(40, 3));
        frozen.iter().for_each(|pattern| assert!(model.freeze(pattern).unwrap() > 0));
        rest_behind(&model, set).unwrap().is_none()
    };
    let layers = "conv 4 3, batch-norm, relu, flatten, dense 10";
    assert!(none(layers, None, &set), "nothing is frozen");
    assert!(none(layers, Some("4.*"), &set), "what is frozen stands behind what is trained");
    assert!(none(layers, Some("0.*"), &varied), "rows are varied");
    assert!(none("dropout 0.2, flatten, dense 8, dense 10", Some("2.*"), &set), "all of it is drawn anew");
    assert!(!none(layers, Some("0.*"), &set), "a norm over the batch is behind the features");
}

#[test]
fn features_end_where_they_are_told_to() {
    let set = data::moons(200, 0.1, 3);
    let model = begun("dense 8, relu, dense 2", &set);
    model.freeze("0.*").unwrap();
    let rest = rest_behind(&model, &set).unwrap().unwrap();
    let stopped = features(&rest, &set, &mut |_| false).unwrap_err().to_string();
    assert!(stopped.contains("after the features of 64 rows"), "{stopped}");
}
