//! The table of words from which layers are read: its examples are layers, and what they make is what they keep.

use std::collections::HashMap;

use kiln_nn::sequential::{Takes, alike, words};
use kiln_nn::variable::with_parameter_budget;
use kiln_nn::{Context, ConvOptions, DType, Layer, Module, Sequential, SpatialRank, Tensor};

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

/// Every layer of the table that may have a rank, as its examples have it: what it is called, and the rest of the text.
fn ranked() -> impl Iterator<Item = (&'static str, Takes, &'static str)> {
    let all = words().filter(|word| word.is_ranked());
    all.flat_map(|word| {
        word.examples.iter().map(|&(takes, example)| (word.word, takes, example.split_once(' ').unwrap().1))
    })
}

/// What each rank takes.
const RANKS: [(SpatialRank, Takes); 3] = [
    (SpatialRank::One, Takes::Sequences),
    (SpatialRank::Two, Takes::Images),
    (SpatialRank::Three, Takes::Volumes),
];

const ALL: [Takes; 6] =
    [Takes::Rows, Takes::Columns, Takes::Sequences, Takes::Images, Takes::Volumes, Takes::Codes];

#[test]
fn each_word_begins_its_examples_and_they_are_layers() {
    for word in words() {
        assert!(!word.examples.is_empty(), "{} has no example", word.word);
        for &(takes, example) in word.examples {
            let first = example.split([' ', '(']).next().unwrap();
            assert!(word.names().iter().any(|name| name == first), "{example}");
            let row = made(example, takes).unwrap();
            let text = row.to_text().unwrap();
            let again: Sequential = text.parse().unwrap();
            assert_eq!((again.to_text().unwrap(), row.len()), (text, 1), "{example}");
        }
        for argument in word.named_arguments() {
            let is_in = |(_, example): &(_, &str)| example.split(' ').any(|part| part == argument);
            assert!(word.examples.iter().any(is_in), "no example of {} has {argument}", word.word);
        }
        assert!(word.line().len() > 10 && word.line().ends_with('.'), "{}: {}", word.word, word.line());
    }
}

#[test]
fn no_name_stands_for_two_words() {
    let mut seen = HashMap::new();
    for word in words() {
        for name in word.names() {
            let other = seen.insert(name.clone(), word.word);
            assert_eq!(other, None, "{name} is {} as well", word.word);
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
        }
    }
}

#[test]
fn methods_are_called_as_words_are() {
    for word in words() {
        let first = word.methods.first().unwrap_or_else(|| panic!("{} has no method", word.word));
        assert_eq!(first.replace('_', "-"), word.names()[usize::from(word.is_ranked())], "{}", word.word);
    }
}

/// By every name that a layer has, it is the same.
#[test]
fn aliases_and_capitals_are_the_same_layer() {
    for word in words() {
        for &(takes, example) in word.examples {
            let rest = example.find([' ', '(']).map_or("", |end| &example[end..]);
            let expected = made(example, takes).unwrap().to_text().unwrap();
            for name in [word.word].iter().chain(word.aliases) {
                for name in [name.to_string(), name.to_uppercase(), name.replace('-', "_")] {
                    let text = made(&(name + rest), takes).unwrap().to_text().unwrap();
                    assert_eq!(text, expected);
                }
            }
        }
    }
}

#[test]
fn a_rank_that_is_left_open_is_the_inputs_and_is_written() {
    for (word, takes, rest) in ranked() {
        let (rank, _) = RANKS.into_iter().find(|(_, own)| *own == takes).unwrap();
        let (open, said) = (format!("{word} {rest}"), format!("{word}{rank} {rest}"));
        let texts = [&open, &said].map(|text| made(text, takes).unwrap().to_text().unwrap());
        assert!(texts[0] == texts[1] && texts[1].starts_with(&format!("{word}{rank} ")), "{texts:?}");
        assert!(alike(&open, &texts[0]) && alike(&said, &open), "{open}");
        for (other, _) in RANKS.into_iter().filter(|(other, _)| *other != rank) {
            assert!(!alike(&said, &format!("{word}{other} {rest}")), "{said}");
        }
    }
}

/// Each word with a rank, on all that it doesn't take: an error that names the word, what came in and the mend, and no layer.
#[test]
fn a_ranked_layer_takes_no_input_of_another_rank() {
    for (word, _, _) in ranked() {
        let rest = ["4 2", "2"]
            .into_iter()
            .find(|rest| format!("{word} {rest}").parse::<Sequential>().is_ok())
            .unwrap();
        for (rank, own) in RANKS {
            for wrong in ALL.into_iter().filter(|takes| *takes != own) {
                let row: Sequential = format!("{word}{rank} {rest}").parse().unwrap();
                let x = inputs(wrong);
                let refused = |row: &Sequential| {
                    let y = row.forward(&x, &Context::inference());
                    let error =
                        y.error().unwrap_or_else(|| panic!("{word}{rank} takes {wrong:?}")).to_string();
                    let mend = match RANKS.into_iter().find(|(_, takes)| *takes == wrong) {
                        Some((other, _)) => format!("write `{word}{other}`"),
                        None => "`reshape ".to_string(),
                    };
                    for part in [format!("{word}{rank} {rest}"), x.shape().to_string(), mend] {
                        assert!(error.contains(&part), "{error} should say {part}");
                    }
                };
                refused(&row);
                assert_eq!(row.parameter_count(), 0);
                // Nor does one that is made already; and what was refused does no harm.
                assert!(row.forward(&inputs(own), &Context::inference()).error().is_none(), "{word}{rank}");
                refused(&row);
            }
        }
        for wrong in ALL.into_iter().filter(|takes| RANKS.iter().all(|(_, own)| own != takes)) {
            let error = made(&format!("{word} {rest}"), wrong).err().unwrap();
            assert!(
                error.contains("[batch, channels, height, width]") && error.contains("`reshape 1 "),
                "{error}"
            );
        }
        let error = made(&format!("{word} {}", rest.replace('2', "2x2")), Takes::Sequences).err().unwrap();
        assert!(error.contains("2x2 isn't for 1 spatial axis"), "{error}");
    }
}

/// Methods say a rank, and mean it.
#[test]
fn a_method_of_a_rank_puts_no_other_in_a_row() {
    let rows = [
        ("conv3d", Sequential::new().conv3d(4, 3)),
        ("depthwise-conv3d", Sequential::new().depthwise_conv3d(3, ConvOptions::new())),
        ("conv-transpose3d", Sequential::new().conv_transpose3d(4, 3, ConvOptions::new())),
        ("max-pool3d", Sequential::new().max_pool3d(2)),
        ("avg-pool3d", Sequential::new().avg_pool3d(2)),
        ("adaptive-avg-pool3d", Sequential::new().adaptive_avg_pool3d(2)),
        ("adaptive-max-pool3d", Sequential::new().adaptive_max_pool3d([1, 2, 2])),
    ];
    for (word, row) in rows {
        let error = row.build([2, 4, 6, 6]).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("[2, 4, 6, 6]") && error.contains("2d`"), "{error}");
        row.build([2, 4, 4, 4, 4]).unwrap();
    }
}

/// What earlier versions wrote, though nothing came of it, is read.
#[test]
fn texts_of_earlier_versions_are_read() {
    for (then, now) in [
        ("depthwise 3 groups 4", "depthwise-conv 3"),
        ("conv 4 3 output-padding 1", "conv 4 3"),
        ("pool 2 without-padding", "max-pool 2"),
        ("leaky-relu 0.01, elu 1, norm", "leaky-relu, elu, batch-norm"),
        ("global-pool, adaptive-pool 2x3", "global-max-pool, adaptive-max-pool 2x3"),
    ] {
        let row: Sequential = then.parse().unwrap();
        assert_eq!(row.to_text().unwrap(), now);
        assert!(alike(then, now));
    }
}

/// What a file has numbers for can be made again, and nothing else can.
#[test]
fn layers_make_the_parameters_they_keep_and_no_others() {
    for &(takes, example) in words().flat_map(|word| word.examples) {
        let row = made(example, takes).unwrap();
        // A forest and what calibrates are states alone, and take room for them as others do for parameters.
        let of_states = || row.states().iter().map(|(_, state)| state.shape().elements()).sum();
        let is_of_states = ["trees ", "calibrate", "isotonic "].iter().any(|word| example.starts_with(word));
        let numbers = if is_of_states { of_states() } else { row.parameter_count() };
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
