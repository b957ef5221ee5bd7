//! Every preset through the command, as a person would.

use kiln::data::{Picture, Rng};
use kiln::presets::{PRESETS, Suits};
use kiln_testkit::Program;
use kiln_testkit::folder::texts;

use crate::{Faults, predictor};

/// Data for presets: what to train on, what says more of it, and what a model is asked.
struct Data {
    train: &'static [&'static str],
    /// What a model that is gone on with says itself.
    first: &'static [&'static str],
    ask: &'static [&'static str],
    answers: &'static [&'static str],
    /// Other classes, for a model with a new last layer.
    others: Option<&'static [&'static str]>,
}

const CLASSES: [&str; 3] = ["ant", "bee", "cat"];

/// Writes data that suit, of everything a few.
fn written(program: &Program, suits: Suits) -> Data {
    let mut rng = Rng::new(7);
    match suits {
        Suits::Tables => {
            for (name, classes) in [("table.csv", 3), ("others.csv", 2)] {
                let mut text = "length,width,colour,kind\n".to_string();
                for row in 0..40 {
                    let (length, colour) = (rng.uniform(), ["red", "blue"][row % 2]);
                    text +=
                        &format!("{length:.2},{:.2},{colour},{}\n", rng.uniform(), CLASSES[row % classes]);
                }
                program.write(name, text);
            }
            program.write("new.csv", "length,width,colour\n0.5,0.1,red\n0.1,,blue\n");
            Data {
                train: &["table.csv", "--target", "kind"],
                first: &[],
                ask: &["new.csv"],
                answers: &["table.csv"],
                others: Some(&["others.csv", "--target", "kind"]),
            }
        }
        Suits::Images => {
            for (folder, classes) in [("pictures", 3), ("others", 2)] {
                for number in 0..18 {
                    let mut picture = Picture::blank(8, 8);
                    for at in 1..7 {
                        picture.put(at, number % classes + 1, 100 + rng.below(150) as u8);
                    }
                    let name = format!("{folder}/{}/{number}.png", CLASSES[number % classes]);
                    program.write(&name, picture.png().unwrap());
                }
            }
            Data {
                train: &["pictures"],
                first: &[],
                ask: &["pictures/ant", "--top", "5"],
                answers: &["pictures"],
                others: Some(&["others"]),
            }
        }
        Suits::Texts => {
            program.write("novel.txt", "It was the best of times, it was the worst of times. ".repeat(12));
            Data {
                train: &["novel.txt"],
                first: &["--window", "16"],
                ask: &["--prompt", "It was", "--length", "5"],
                answers: &["novel.txt"],
                others: None,
            }
        }
        Suits::Pairs => {
            let mut text = "read,written\n".to_string();
            for _ in 0..40 {
                let number = rng.below(1000);
                text += &format!("{number},{}\n", number.to_string().chars().rev().collect::<String>());
            }
            program.write("pairs.csv", text);
            program.write("new.csv", "read\n123\n45\n");
            Data {
                train: &["pairs.csv", "--pairs", "--text", "read", "--target", "written"],
                first: &["--window", "12"],
                ask: &["new.csv"],
                answers: &["pairs.csv"],
                others: None,
            }
        }
        Suits::Series => {
            for (name, steps) in [("sales.csv", 80), ("new.csv", 80)] {
                let mut text = "day,shop,price,sold\n".to_string();
                for step in 0..steps + 3 {
                    for shop in ["north", "south"] {
                        let (month, day) = match step {
                            0..=30 => (1, step + 1),
                            31..=59 => (2, step - 30),
                            _ => (3, step - 59),
                        };
                        let date = format!("2024-{month:02}-{day:02}");
                        let price = 1 + rng.below(3);
                        let sold = 10 + 3 * (step % 7) + rng.below(4);
                        let sold = if step < steps { sold.to_string() } else { String::new() };
                        text += &format!("{date},{shop},{price},{sold}\n");
                    }
                }
                program.write(name, text);
            }
            Data {
                train: &[
                    "sales.csv",
                    "--target",
                    "sold",
                    "--forecast",
                    "3",
                    "--series",
                    "shop",
                    "--known",
                    "price",
                ],
                first: &[],
                ask: &["new.csv"],
                answers: &["sales.csv"],
                others: None,
            }
        }
        Suits::Tagged => {
            for (name, place) in [("news.conll", "LOC"), ("others.conll", "CITY")] {
                let mut text = String::new();
                for _ in 0..30 {
                    let (town, far) =
                        (["Wien", "Oslo", "Rom"][rng.below(3)], "very O\n".repeat(rng.below(5)));
                    text += &format!("in O\n{town} B-{place}\nit O\nis O\n{far}cold O\n\n");
                }
                program.write(name, text);
            }
            Data {
                train: &["news.conll"],
                first: &["--window", "8"],
                ask: &["--text", "it is cold in Oslo, very cold"],
                answers: &["news.conll"],
                others: Some(&["others.conll"]),
            }
        }
        Suits::Sorted => {
            for (name, classes) in [("reviews.csv", 3), ("others.csv", 2)] {
                let mut text = "review,kind\n".to_string();
                for row in 0..30 {
                    let words = ["good", "bad", "long", "short"][rng.below(4)];
                    text += &format!("a {words} story of {} acts,{}\n", rng.below(9), CLASSES[row % classes]);
                }
                program.write(name, text);
            }
            program.write("new.csv", "review\na good story\nno story\n");
            Data {
                train: &["reviews.csv", "--text", "review", "--target", "kind"],
                first: &["--window", "8"],
                ask: &["new.csv"],
                answers: &["reviews.csv"],
                others: Some(&["others.csv", "--text", "review", "--target", "kind"]),
            }
        }
    }
}

/// Runs the command, which must succeed, and gives what it prints.
pub fn out(program: &Program, arguments: &[&[&str]]) -> Result<String, String> {
    let arguments = arguments.concat();
    let output = program.run(&arguments);
    let (out, errors) = texts(&output);
    match output.status.success() {
        true => Ok(out),
        false => Err(format!("`kiln {}`: {}", arguments.join(" "), errors.trim())),
    }
}

/// The way of a preset through everything the command does with models.
fn live(faults: &mut Faults, name: &str, suits: Suits) {
    let of = format!("preset {name} of {suits:?}");
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), &format!("preset-{name}-{suits:?}"));
    let data = written(&program, suits);
    let quick: &[&str] = &["--epochs", "1", "--batch-size", "8", "--threads", "1", "--quiet"];
    let mut told_by = Vec::new();
    let mut cell = |stage: &str, arguments: &[&[&str]]| faults.cell(&of, stage, || out(&program, arguments));
    let trained =
        cell("train", &[&["train"], data.train, data.first, &["--preset", name, "--out", "run"], quick]);
    if trained.is_none() {
        return;
    }
    let model = "run/model.kiln";
    // What a run that chose keeps is whole fits.
    let further: &[&str] = if suits == Suits::Series { &[] } else { &["--epochs", "2"] };
    cell("resume", &[&["train", "--resume", "run", "--quiet"], further]);
    cell("inspect", &[&["inspect", model]]);
    cell("show", &[&["inspect", model, "--show", "graph"]]);
    let told = cell("predict", &[&["predict", model], data.ask]);
    cell("predict as JSON", &[&["predict", model, "--json"], data.ask]);
    match suits {
        Suits::Tables => {
            cell("explain", &[&["explain", model, "--change"], data.ask]);
            cell("explain by samples", &[&["explain", model, "--method", "sampled", "--json"], data.ask]);
        }
        Suits::Images => {
            cell("explain", &[&["explain", model, "pictures/ant", "--out", "why"]]);
        }
        Suits::Sorted => {
            cell("explain", &[&["explain", model], data.ask]);
        }
        Suits::Texts | Suits::Tagged | Suits::Pairs | Suits::Series => {}
    }
    let measured = cell("evaluate", &[&["eval", model], data.answers]);
    if suits != Suits::Series {
        cell("fine-tune", &[&["train"], data.train, &["--from", model, "--out", "tuned"], quick]);
    }
    if let Some(others) = data.others {
        cell(
            "new head",
            &[&["train"], others, &["--from", model, "--head", "--freeze", "*", "--out", "head"], quick],
        );
        cell("predict with it", &[&["predict", "head/model.kiln"], data.ask]);
    }
    cell("onnx", &[&["export", model, "model.onnx"]]);
    cell("onnx of rows", &[&["export", model, "rows.onnx", "--without-preprocessing"]]);
    if matches!(suits, Suits::Texts | Suits::Pairs) {
        cell("onnx of next steps", &[&["export", model, "steps.onnx", "--cache"]]);
    }
    let taken = cell("onnx back", &[&["import", "rows.onnx", "--out", "taken.kiln"]]);
    cell("weights", &[&["export", model, "weights.npz"]]);
    cell("weights back", &[&["import", "weights.npz", "--into", model, "--out", "back.kiln"]]);
    for kind in ["safetensors", "json"] {
        let other = format!("other.{kind}");
        cell(kind, &[&["export", model, &other]]);
        let again = cell(&format!("predict by {kind}"), &[&["predict", &other], data.ask]);
        let same = cell(&format!("evaluate by {kind}"), &[&["eval", &other], data.answers]);
        told_by.push((kind, (again, same) == (told.clone(), measured.clone())));
    }
    faults.cell(&of, "predictor", || predictor::same(&program, model, suits));
    if taken.is_some() {
        faults.cell(&of, "predictor by onnx", || predictor::same(&program, "taken.kiln", suits));
    }
    for (kind, is_same) in told_by {
        faults.cell(&of, &format!("the same by {kind}"), || {
            if is_same { Ok(()) } else { Err("it says something else") }
        });
    }
}

#[test]
fn every_preset_is_trained_kept_and_used() {
    let mut faults = Faults::default();
    for preset in &PRESETS {
        preset.suits.iter().for_each(|&suits| live(&mut faults, preset.name, suits));
    }
    faults.settle();
}

#[test]
fn the_help_names_every_preset_and_every_layer() {
    let help = out(&Program::new(env!("CARGO_BIN_EXE_kiln"), "help"), &[&["train", "--help"]]).unwrap();
    PRESETS.iter().for_each(|preset| assert!(help.contains(preset.name), "{}", preset.name));
    let (help, listed) = (flowing(&help), kiln::sequential::words());
    for part in listed.flat_map(|word| [word.usage(), word.line()]) {
        assert!(help.contains(&flowing(&part)), "{part}");
    }
}

/// A text however its lines are broken.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
