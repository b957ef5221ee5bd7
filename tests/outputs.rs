//! Layers that give something else than what their model is asked to say: found out before training, and wherever answers are put in words.

use kiln::Model;
use kiln::data::{Cut, Form, Meaning, Tokens, ValueKind};
use kiln::model::{About, Task};
use kiln::prelude::*;
use kiln::preparation::{Preparation, TextPreparation};
use kiln_testkit::Program;

fn kiln(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("k{class}")).collect()
}

/// A model's file of these layers, whatever they are to say.
fn written(program: &Program, name: &str, layers: &str, input: &Form, task: Task, preparation: Preparation) {
    let layers: Sequential = layers.parse().unwrap();
    let about = About { preparation, ..About::new(&layers, input, task).unwrap() };
    // No row has reached the layers, and they are written whole.
    Model::new(layers, about).save(program.at(name)).unwrap();
}

#[test]
fn a_file_that_names_other_outputs_than_its_layers_have_is_refused_where_they_are_named() {
    let program = kiln("named");
    program.write("rows.csv", "a,b,c,d\n1,2,3,4\n5,6,7,8\n");
    let numbers = |count: usize, units: usize| Task::Numbers {
        names: names(count),
        scale: vec![1.0; units],
        offset: vec![0.0; units],
        curves: Vec::new(),
        interval: None,
    };
    for (layers, task) in [
        ("dense 3", Task::Classes { names: names(2) }),
        ("dense 2", Task::Classes { names: names(3) }),
        ("dense 1", Task::Classes { names: names(3) }),
        ("dense 1", Task::Classes { names: names(1) }),
        ("dense 4, reshape 2 2", Task::Classes { names: names(2) }),
        ("dense 2", Task::Classes { names: Vec::new() }),
        ("dense 2", numbers(1, 1)),
        ("dense 2", numbers(2, 1)),
        ("dense 1", numbers(2, 2)),
        ("dense 4", Task::Text { pieces: 4 }),
    ] {
        let what = format!("{layers} for {task:?}");
        written(&program, "odd.kiln", layers, &Form::numbers(&[4]), task, Preparation::Unsaid);
        for arguments in [
            &["predict", "odd.kiln", "rows.csv"][..],
            &["predict", "odd.kiln", "rows.csv", "--json"],
            &["eval", "odd.kiln", "rows.csv"],
            &["export", "odd.kiln", "odd.onnx"],
        ] {
            let (code, error) = program.error(arguments);
            let says = error.contains("asked for") || error.contains("nothing to tell apart");
            assert!(code == 1 && says, "{what}: {arguments:?}: {error}");
        }
        // What it is can be looked at, and mended.
        program.out(&["inspect", "odd.kiln"]);
        program.out(&["export", "odd.kiln", "odd.json"]);
    }
}

#[test]
fn a_text_model_whose_pieces_are_not_those_of_its_layers_is_refused() {
    let program = kiln("pieces");
    let tokens = Tokens::fit("abcdefgh", Cut::Characters, 100).unwrap();
    let count = tokens.count();
    let said = |tokens: &Tokens, window: usize| TextPreparation::new(tokens.clone(), window).into();
    let few = Tokens::fit("ab", Cut::Characters, 100).unwrap();
    let form = |codes: usize| Form {
        kind: ValueKind::I64,
        shape: vec![6],
        meaning: Meaning::Codes { count: codes },
    };
    let row = |outputs: usize| format!("embedding {count} 4, dense {outputs}, transpose");
    let cases = [
        ("fine", row(count), form(count), count, said(&tokens, 6)),
        ("outputs", row(3), form(count), count, said(&tokens, 6)),
        ("said", row(3), form(count), 3, said(&tokens, 6)),
        ("few", row(count), form(count), count, said(&few, 6)),
        ("window", row(count), form(count), count, said(&tokens, 60)),
        ("nothing", row(count), form(count), count, said(&tokens, 0)),
        ("shape", format!("{}, transpose", row(count)), form(count), count, said(&tokens, 6)),
        ("shorter", format!("{}, pool 2", row(count)), form(count), count, said(&tokens, 6)),
    ];
    for (name, layers, input, pieces, preparation) in cases {
        written(&program, "text.kiln", &layers, &input, Task::Text { pieces }, preparation);
        let arguments = ["predict", "text.kiln", "--prompt", "abc", "--length", "3"];
        match name {
            "fine" => drop(program.out(&arguments)),
            _ => drop(program.error(&arguments)),
        }
    }
}

#[test]
fn a_preparation_of_texts_for_another_task_is_refused() {
    let program = kiln("asked");
    let tokens = Tokens::fit("abcdefgh", Cut::Characters, 100).unwrap();
    let count = tokens.count();
    let form = Form { kind: ValueKind::I64, shape: vec![6], meaning: Meaning::Codes { count } };
    let classes = || Task::Classes { names: names(2) };
    let number = || Task::plain_numbers(names(1));
    let (goes_on, of_column) =
        (TextPreparation::new(tokens.clone(), 6), TextPreparation::new(tokens, 6).with_columns("t", "k"));
    let one = |outputs: usize| format!("embedding {count} 4, flatten, dense {outputs}");
    let each = format!("embedding {count} 4, dense {count}, transpose");
    program.write("rows.csv", "t,k\nab,k0\n");
    for (layers, task, preparation, says) in [
        (one(2), classes(), &goes_on, "the model gives 2 classes"),
        (one(1), number(), &goes_on, "the model gives 1 number"),
        (one(1), number(), &of_column, "the model gives 1 number"),
        (each, Task::Text { pieces: count }, &of_column, "what comes next"),
    ] {
        written(&program, "odd.kiln", &layers, &form, task, preparation.clone().into());
        for arguments in
            [&["predict", "odd.kiln", "--prompt", "abc"][..], &["predict", "odd.kiln", "rows.csv"]]
        {
            let (code, error) = program.error(arguments);
            assert!(code == 1 && error.contains(says), "{layers}: {error}");
        }
    }
}

#[test]
fn layers_that_do_not_fit_what_is_learned_are_refused_before_training() {
    let program = kiln("before");
    let table = |name: &str, kinds: &[&str]| {
        let row = |at: usize| format!("{},{},{}\n", at % 7, at % 5, kinds[at % kinds.len()]);
        program.write(name, "a,b,kind\n".to_string() + &(0..60).map(row).collect::<String>());
    };
    table("two.csv", &["up", "down"]);
    table("three.csv", &["up", "down", "left"]);
    table("one.csv", &["up"]);
    table("numbers.csv", &["1.25", "2.5", "3.75", "7.125", "0.5"]);
    for (data, layers, says) in [
        ("two.csv", "dense 65536", "2 classes"),
        ("three.csv", "dense 1", "3 classes"),
        ("three.csv", "dense 2", "3 classes"),
        ("three.csv", "dense 6, reshape 2 3", "3 classes"),
        ("numbers.csv", "dense 2", "1 number"),
        ("one.csv", "dense", "nothing to learn"),
    ] {
        let arguments = ["train", data, "--target", "kind", "--layers", layers, "--epochs", "1"];
        let (_, error) = program.error(&arguments);
        assert!(error.contains(says), "{layers} of {data}: {error}");
        assert!(!program.at("runs").exists(), "{layers} of {data} left a run");
    }
}

#[test]
fn a_single_output_tells_two_classes_apart_wherever_they_are_named() {
    let program = kiln("single");
    let task = Task::Classes { names: names(2) };
    written(&program, "one.kiln", "dense 1", &Form::numbers(&[2]), task, Preparation::Unsaid);
    program.write("new.csv", "a,b\n1,2\n6,0\n");
    let told = program.out(&["predict", "one.kiln", "new.csv"]);
    assert!(told.starts_with("a,b,prediction,p(k0),p(k1)\n"), "{told}");
    program.out(&["export", "one.kiln", "one.onnx"]);
}

/// In the library more outputs than classes are a person's own affair, and cost what is seen of them.
#[test]
fn a_trainer_takes_more_outputs_than_classes_and_no_fewer() {
    let set = data::moons(60, 0.1, 1);
    let run = |outputs: usize, set: &data::Set| {
        let model = Sequential::new().dense(outputs);
        let trainer = Trainer::new(model, CrossEntropy::new(), Adam::new(0.02)).epochs(1).quiet();
        let run = trainer.metrics(["accuracy", "f1", "top-2"]).fit(set)?;
        Ok::<_, Error>((run.evaluate(set)?.number("accuracy").unwrap(), run.confusion(set)?.total()))
    };
    let (accuracy, total) = run(65_536, &set).unwrap();
    assert!((0.0..=1.0).contains(&accuracy) && total == 60);
    let labels = (0..60).map(|row| row % 3).collect();
    let three = data::Set::classes(set.inputs().clone(), set.x(), labels).unwrap();
    for outputs in [1, 2] {
        let error = run(outputs, &three).unwrap_err().to_string();
        assert!(error.contains("3 classes"), "{error}");
    }
    // A label far out isn't a reason to make room for all before it.
    let far = vec![1_000_000_000_000i64; 60];
    let far = data::Set::classes(set.inputs().clone(), set.x(), far).unwrap();
    assert!(run(1, &far).unwrap_err().to_string().contains("classes"));
}
