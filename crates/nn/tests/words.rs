//! The table of words from which layers are read: its examples are layers, and what they make is what they keep.

use kiln_nn::sequential::{Takes, words};
use kiln_nn::variable::with_parameter_budget;
use kiln_nn::{Context, DType, Layer, Module, Sequential, Tensor};

/// Inputs that such a layer takes.
fn inputs(takes: Takes) -> Tensor {
    let (sizes, dtype): (&[usize], _) = match takes {
        Takes::Rows => (&[2, 4], DType::F32),
        Takes::Columns => (&[2, 6], DType::F32),
        Takes::Sequences => (&[2, 4, 8], DType::F32),
        Takes::Images => (&[2, 4, 6, 6], DType::F32),
        Takes::Volumes => (&[2, 4, 4, 4, 4], DType::F32),
        Takes::Codes => (&[2, 4], DType::I64),
    };
    Tensor::zeros(sizes).cast(dtype)
}

/// Layers of a text, made for such inputs.
fn made(text: &str, takes: Takes) -> Result<Sequential, String> {
    let row: Sequential = text.parse().map_err(|error| format!("{text}: {error}"))?;
    let y = row.forward(&inputs(takes), &Context::inference());
    match y.error() {
        Some(error) => Err(format!("{text} of {takes:?}: {error}")),
        None => Ok(row),
    }
}

#[test]
fn each_word_begins_its_examples_and_they_are_layers() {
    for word in words() {
        assert!(!word.examples.is_empty(), "{} has no example", word.word);
        for &(takes, example) in word.examples {
            let first = example.split([' ', '(']).next();
            assert_eq!(first, Some(word.word), "{example}");
            let row = made(example, takes).unwrap();
            let text = row.to_text().unwrap();
            let again: Sequential = text.parse().unwrap();
            assert_eq!((again.to_text().unwrap(), row.len()), (text, 1), "{example}");
        }
        let alike = words().filter(|other| other.word == word.word);
        assert_eq!(alike.count(), 1, "{} stands twice in the table", word.word);
    }
}

/// What a file has numbers for can be made again, and nothing else can.
#[test]
fn layers_make_the_parameters_they_keep_and_no_others() {
    for &(takes, example) in words().flat_map(|word| word.examples) {
        let numbers = made(example, takes).unwrap().parameter_count();
        with_parameter_budget(numbers, || made(example, takes)).unwrap();
        if numbers > 0 {
            assert!(
                with_parameter_budget(numbers - 1, || made(example, takes)).is_err(),
                "{example} of {takes:?}"
            );
        }
    }
}

#[test]
fn a_panic_gives_back_what_may_be_made() {
    let panicked = std::panic::catch_unwind(|| with_parameter_budget(3, || panic!("on purpose")));
    assert!(panicked.is_err());
    made("dense 100", Takes::Rows).unwrap();
}

#[test]
fn no_two_layers_go_by_one_name() {
    for text in [
        "dense 5 as head, dense 3 as head",
        "dense 5 as 1, dense 3",
        "dense 4, residual(dense 5 as projection)",
        "parallel(dense 2 as a, relu as a; dense 3)",
    ] {
        let error = text.parse::<Sequential>().unwrap_err().to_string();
        assert!(error.contains("called") || error.contains("projection"), "{text}: {error}");
    }
    "dense 5 as 7, parallel(dense 2 as a; dense 3 as a)".parse::<Sequential>().unwrap();
    let row = Sequential::new().dense(3).named("same").dense(3).named("same");
    let error = row.forward(&Tensor::zeros([1, 2]), &Context::inference()).error().unwrap().to_string();
    assert!(error.contains("two layers are called same"), "{error}");
}
