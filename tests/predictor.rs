//! Models that programs use: a typed preparation in the file, and answers to raw values from any number of threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::RwLock;

use kiln::data::{
    Choices, Cut, Dataset, Form, ImageSize, Picture, RawCell, Set, Table, TablePreparation, TargetKind,
    Tokens,
};
use kiln::prelude::*;
use kiln::preparation::{ImagePreparation, TextPreparation};
use kiln::{Model, Prediction, Predictor, Preparation};
use kiln_testkit::{Folder, Program};

/// Models are handed on and shared, whatever is in them.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Model>();
    shared::<Predictor>();
    shared::<Prediction>();
    shared::<Preparation>();
    shared::<kiln::model::About>();
};

/// Held by the one test that counts what the process compiles, against all others.
static COUNTING: RwLock<()> = RwLock::new(());

fn trained(layers: Sequential, set: &Set) -> kiln::trainer::Run<'static, Sequential> {
    Trainer::new(layers, CrossEntropy::new(), Adam::new(0.02)).epochs(3).quiet().fit(set).unwrap()
}

const TABLE: &str = "age,sex,since,ill\n63,male,2020-01-31,yes\n41,female,2021-06-01,no\n,male,2019-12-24,no\n\
    55,female,,yes\n29,male,2024-02-29,no\n70,female,2018-03-03,yes\n";

/// A model of a table, made in the library alone.
fn of_table() -> Model {
    let table = Table::read(TABLE.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("ill")).unwrap();
    let set = plan.apply(&table, &rows).unwrap();
    trained(Sequential::new().dense(8).relu().dense(2), &set).with_preparation(plan).unwrap()
}

/// A model of one that predicts a number in years.
fn of_number() -> Model {
    let table = Table::read(TABLE.as_bytes()).unwrap();
    let rows = table.rows_with("age").unwrap();
    let plan =
        TablePreparation::fit(&table, &rows, &Choices::new().target("age").target_kind(TargetKind::Number))
            .unwrap();
    let set = plan.apply(&table, &rows).unwrap();
    let trainer = Trainer::new(Sequential::new().dense(8).relu().dense(1), Mse::new(), Adam::new(0.02));
    trainer.epochs(3).quiet().fit(&set).unwrap().with_preparation(plan).unwrap()
}

/// Pictures with a bright line in one of three rows.
fn picture(class: usize) -> Picture {
    let mut picture = Picture::blank(6, 6);
    (1..5).for_each(|at| picture.put(class + 1, at, 200));
    picture
}

fn of_images() -> Model {
    let size = ImageSize { channels: 1, height: 6, width: 6 };
    let images = ImagePreparation::new(size);
    let pixels: Vec<u8> = (0..12).flat_map(|row| images.pixels(&picture(row % 3)).0).collect();
    let set = Set::classes(pixels, images.form(), (0..12).map(|row| row % 3).collect()).unwrap();
    let set = set.named(["ant", "bee", "cat"]);
    let images = ImagePreparation::fit(&set).unwrap();
    trained(Sequential::new().flatten().dense(3), &set).with_preparation(images).unwrap()
}

const REVIEWS: &str = "review,kind\na good story,up\na bad story,down\ngood good,up\nbad,down\n";

fn of_texts() -> Model {
    let table = Table::read(REVIEWS.as_bytes()).unwrap();
    let tokens = Tokens::fit("a good bad story", Cut::Words, 100).unwrap();
    let set = kiln::data::labelled(&table, "review", "kind", &tokens, 4, false).unwrap();
    let layers = format!("embedding {} 4, flatten, dense 2", tokens.count()).parse().unwrap();
    let text = TextPreparation::new(tokens, 4).with_columns("review", "kind");
    trained(layers, &set).with_preparation(text).unwrap()
}

/// What the command says of a model that a program made, and what the same says to a program.
#[test]
fn the_command_uses_a_model_that_was_made_in_the_library() {
    let _shared = COUNTING.read().unwrap();
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "made");
    program.write("ill.csv", TABLE);
    program.write("reviews.csv", REVIEWS);
    for class in 0..3 {
        let name = format!("pictures/{}/0.png", ["ant", "bee", "cat"][class]);
        program.write(&name, picture(class).png().unwrap());
    }
    type Ask = fn(&Predictor) -> Prediction;
    type Asked<'a> = (&'a str, Model, &'a [&'a str], &'a [&'a str], Ask);
    let asks: [Asked; 4] = [
        ("table", of_table(), &["one.csv"], &["ill.csv"], |predictor| {
            predictor.predict_row([("since", "2020-05-05"), ("sex", "male"), ("age", "50")]).unwrap()
        }),
        ("number", of_number(), &["one.csv"], &["ill.csv"], |predictor| {
            predictor.predict_row([("since", "2020-05-05"), ("sex", "male"), ("ill", "yes")]).unwrap()
        }),
        ("images", of_images(), &["pictures/bee/0.png"], &["pictures"], |predictor| {
            predictor.predict_image(&picture(1).png().unwrap()).unwrap()
        }),
        ("texts", of_texts(), &["text.csv"], &["reviews.csv"], |predictor| {
            predictor.predict_text("a good day").unwrap()
        }),
    ];
    program.write("one.csv", "age,sex,since,ill\n50,male,2020-05-05,yes\n");
    program.write("text.csv", "review\na good day\n");
    for (name, model, one, answers, ask) in asks {
        for kind in ["kiln", "json"] {
            let file = format!("{name}.{kind}");
            model.save(program.at(&file)).unwrap();
            assert_eq!(Model::load(program.at(&file)).unwrap().about(), model.about(), "{file}");
            let told = program.out(&[&["predict", &file], one, &["--json"]].concat());
            let own = ask(&Predictor::load(program.at(&file)).unwrap());
            // Numbers are written with the digits of single precision, in which they were computed.
            let said = |number: serde_json::Value| told.contains(&number.to_string());
            match own.number() {
                Some(number) => {
                    assert!(told.contains(&(number as f32).to_string()), "{file}: {number}, {told}")
                }
                None => {
                    assert!(said(own.class().into()), "{file}: {own:?}, {told}");
                    assert!(
                        own.probabilities().all(|(_, p)| told.contains(&p.to_string())),
                        "{file}: {own:?}, {told}"
                    );
                }
            }
            program.out(&[&["eval", &file], answers].concat());
            program.out(&["inspect", &file]);
        }
    }
}

#[test]
fn numbers_come_in_their_own_unit() {
    let _shared = COUNTING.read().unwrap();
    let predictor = Predictor::new(of_number()).unwrap();
    let said = predictor.predict_row([("sex", "male"), ("since", ""), ("ill", "yes")]).unwrap();
    let years = said.number().unwrap();
    assert!((10.0..100.0).contains(&years), "{years}");
    assert_eq!(said.numbers().collect::<Vec<_>>(), [("age", years)]);
}

#[test]
fn a_row_may_come_as_any_pairs() {
    let _shared = COUNTING.read().unwrap();
    let predictor = Predictor::new(of_table()).unwrap();
    let array = predictor.predict_row([("age", "50"), ("sex", "male"), ("since", "2020-05-05")]).unwrap();
    let pairs = [("since", "2020-05-05"), ("sex", "male"), ("age", "50")];
    let map: BTreeMap<String, String> =
        pairs.iter().map(|(name, cell)| (name.to_string(), cell.to_string())).collect();
    assert_eq!(predictor.predict_row(&map).unwrap(), array);
    let map: HashMap<&str, RawCell> =
        [("age", 50.into()), ("sex", "male".into()), ("since", "2020-05-05".into()), ("else", true.into())]
            .into();
    assert_eq!(predictor.predict_row(map.clone()).unwrap(), array);
    assert_eq!(predictor.predict_rows([map.clone(), map]).unwrap(), [array.clone(), array]);
    assert!(predictor.predict_rows(Vec::<[(&str, &str); 0]>::new()).unwrap().is_empty());
}

/// A preparation with code in it can't be stored, but asked.
#[test]
fn a_row_is_prepared_by_code_of_ones_own() {
    let _shared = COUNTING.read().unwrap();
    let table = Table::read(TABLE.as_bytes()).unwrap();
    let rows: Vec<usize> = (0..table.len()).collect();
    let choices = Choices::new()
        .target("ill")
        .computed("old", |row| Ok(f64::from(u8::from(row.number("age")?.unwrap_or(0.0) > 50.0))));
    let plan = TablePreparation::fit(&table, &rows, &choices).unwrap();
    let set = plan.apply(&table, &rows).unwrap();
    let model = trained(Sequential::new().dense(2), &set).with_preparation(plan).unwrap();
    let predictor = Predictor::new(model).unwrap();
    let said = predictor.predict_row([("age", "63"), ("sex", "male"), ("since", "2020-01-31")]).unwrap();
    let whole = predictor.predict(&set).unwrap();
    let far = said.probability("yes").unwrap() - whole[0].probability("yes").unwrap();
    assert!(far.abs() < 1e-6, "{said:?}, {:?}", whole[0]);
    let folder = Folder::new("own");
    assert!(predictor.model().save(folder.at("own.kiln")).unwrap_err().to_string().contains("of one's own"));
}

#[test]
fn what_a_model_does_not_take_is_refused_with_what_it_takes() {
    let _shared = COUNTING.read().unwrap();
    let row = [("age", "1")];
    for (model, takes) in
        [(of_table(), "rows of a table"), (of_images(), "images"), (of_texts(), "texts of a table")]
    {
        let predictor = Predictor::new(model).unwrap();
        let refused = [
            predictor.predict_image(&picture(0).png().unwrap()),
            predictor.predict_text("a"),
            predictor.predict_row(row),
        ];
        let errors: Vec<String> =
            refused.into_iter().filter_map(|answer| answer.err()).map(|error| error.to_string()).collect();
        assert!(errors.len() >= 2, "{takes}: {errors:?}");
        let own = ["lacks", takes];
        assert!(errors.iter().all(|error| own.iter().any(|own| error.contains(own))), "{takes}: {errors:?}");
    }
    let predictor = Predictor::new(of_table()).unwrap();
    let error = |row: [(&str, &str); 3]| predictor.predict_row(row).unwrap_err().to_string();
    let wrong = error([("age", "old"), ("sex", "male"), ("since", "")]);
    assert!(wrong.contains("column age: \"old\" is no number"), "{wrong}");
    let lacking = error([("agee", "1"), ("sex", "male"), ("since", "")]);
    assert!(lacking.contains("\"age\" (there is \"agee\")"), "{lacking}");
    let image = Predictor::new(of_images()).unwrap();
    assert!(image.predict_image(b"none").unwrap_err().to_string().contains("picture"));
}

/// Classes are no text to go on with, whoever says that they are.
#[test]
fn only_a_model_that_goes_on_with_texts_says_what_comes_next() {
    let _shared = COUNTING.read().unwrap();
    let Preparation::Text(own) = of_texts().about().preparation.clone() else { panic!("no texts") };
    let codes = own.tokens.encode("a good day");
    let error = Predictor::new(of_texts()).unwrap().predict_next(&codes).unwrap_err().to_string();
    assert!(error.contains("doesn't go on") && error.contains("predict_text"), "{error}");
    let goes_on = TextPreparation { columns: None, ..own };
    let error = of_texts().with_preparation(goes_on.clone()).err().unwrap().to_string();
    assert!(error.contains("2 classes") && error.contains("with_columns"), "{error}");
    let mut model = of_texts();
    model.about_mut().preparation = goes_on.into();
    assert!(Predictor::new(model).err().unwrap().to_string().contains("2 classes"));
}

#[test]
fn plain_rows_of_numbers_are_taken_as_they_come() {
    let _shared = COUNTING.read().unwrap();
    let set = data::moons(60, 0.1, 1).named(["upper", "lower"]);
    let run = trained(Sequential::new().dense(8).relu().dense(2), &set);
    let about = run.about().unwrap();
    let predictor = Predictor::new(Model::new(run.into_model(), about)).unwrap();
    let whole = predictor.predict(&set).unwrap();
    assert_eq!(whole.len(), 60);
    let said = predictor.predict_row([("x", 0.5), ("y", -0.25)]).unwrap();
    let alone = Set::classes(vec![0.5f32, -0.25], Form::numbers(&[2]), vec![0]).unwrap();
    assert_eq!(said, predictor.predict(&alone).unwrap()[0]);
    let error = predictor.predict_row([("x", 0.5)]).unwrap_err().to_string();
    assert!(error.contains("rows of 2 numbers"), "{error}");
}

/// Numbers that a table has as they are stored mean what they meant in training.
#[test]
fn rows_of_scaled_numbers_are_taken_as_they_come() {
    let _alone = COUNTING.write().unwrap();
    let pixels: Vec<u8> = (0..120).map(|at| (at * 37 % 256) as u8).collect();
    let labels = (0..40).map(|row| i64::from(pixels[3 * row] > 127)).collect();
    let set = Set::classes(pixels.clone(), Form::pixels(&[3]), labels).unwrap();
    let run = trained(Sequential::new().dense(8).relu().dense(2), &set);
    let about = run.about().unwrap();
    let predictor = Predictor::new(Model::new(run.into_model(), about)).unwrap();
    predictor.warm_up().unwrap();
    let before = kiln::compilations();
    let [a, b, c] = [0, 1, 2].map(|at| f64::from(pixels[at]));
    let said = predictor.predict_row([("a", a), ("b", b), ("c", c)]).unwrap();
    assert_eq!(said, predictor.predict(&set).unwrap()[0]);
    assert_eq!(kiln::compilations(), before);
}

#[test]
fn a_preparation_whose_numbers_mean_something_else_is_refused() {
    let _shared = COUNTING.read().unwrap();
    let error = |model: Model, preparation: Preparation| {
        model.with_preparation(preparation).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let of = |x: Form| {
        let width = x.width();
        let set = Set::classes(vec![9u8; 4 * width], x, vec![0, 1, 0, 1]).unwrap();
        let run = trained(Sequential::new().flatten().dense(2), &set);
        let about = run.about().unwrap();
        Model::new(run.into_model(), about)
    };
    let images = ImagePreparation::new(ImageSize { channels: 1, height: 2, width: 2 });
    let whole = Form { kind: kiln::data::ValueKind::U8, ..Form::numbers(&[1, 2, 2]) };
    let says = error(of(whole), images.clone().into());
    assert!(says.contains("numbers times 1;") || says.contains("takes numbers times 1"), "{says}");
    assert_eq!(error(of(Form::pixels(&[1, 2, 2])), images.into()), "");
    let plan = TablePreparation::plain(["a", "b"]).unwrap();
    let says = error(of(Form::pixels(&[2])), plan.clone().into());
    assert!(says.contains("a table's rows of numbers times 1"), "{says}");
    assert_eq!(error(of(Form { kind: kiln::data::ValueKind::U8, ..Form::numbers(&[2]) }), plan.into()), "");
}

#[test]
fn nothing_is_compiled_after_warming_up() {
    let _alone = COUNTING.write().unwrap();
    let predictors =
        [of_table(), of_number(), of_images(), of_texts()].map(|model| Predictor::new(model).unwrap());
    predictors.iter().for_each(|predictor| predictor.warm_up().unwrap());
    assert!(predictors.iter().all(|predictor| predictor.compiled() == 4));
    let ask = |predictors: &[Predictor; 4]| {
        let [table, number, images, texts] = predictors;
        let row = [("age", "50"), ("sex", "male"), ("since", ""), ("ill", "no")];
        for _ in 0..3 {
            table.predict_row(row).unwrap();
            number.predict_row(row).unwrap();
            for rows in [1, 2, 7, 30, 100, 300] {
                assert_eq!(table.predict_rows(vec![row; rows]).unwrap().len(), rows);
            }
            images.predict_picture(&picture(2)).unwrap();
            texts.predict_text("good").unwrap();
        }
    };
    let before = kiln::compilations();
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| ask(&predictors)))));
    assert_eq!(kiln::compilations(), before);
}

#[test]
fn a_model_that_is_asked_again_compiles_nothing_again() {
    let _alone = COUNTING.write().unwrap();
    let model = of_table();
    let width = model.about().input.shape[0];
    let set = Set::numbers(vec![0.5; 1300 * width], Form::numbers(&[width]), vec![0.0; 1300], 1).unwrap();
    let first = model.predict(&set).unwrap();
    let before = kiln::compilations();
    assert_eq!(model.predict(&set).unwrap(), first);
    assert_eq!(kiln::compilations(), before);
    // Rows in any part of any batch are the same row.
    assert!(
        first
            .outputs()
            .chunks(2)
            .all(|row| { row.iter().zip(first.outputs()).all(|(a, b)| (a - b).abs() < 1e-5) })
    );
}

/// Weights that change, and layers that move, are seen by the next answer.
#[test]
fn answers_follow_the_weights() {
    let _shared = COUNTING.read().unwrap();
    let predictor = Predictor::new(of_table()).unwrap();
    let row = [("age", "50"), ("sex", "male"), ("since", "2020-05-05")];
    let before = predictor.predict_row(row).unwrap();
    let (_, bias) = predictor.model().parameters().pop().unwrap();
    bias.set(&Tensor::new(vec![-50f32, 50.0], [2])).unwrap();
    let after = predictor.predict_row(row).unwrap();
    assert!(before != after && after.probability("yes") > Some(0.99), "{before:?}, {after:?}");
    let other = kiln::device("reference").unwrap();
    predictor.model().to(&other).unwrap();
    assert_eq!(predictor.predict_row(row).unwrap().class(), Some("yes"));
    predictor.model().layers().to(&kiln::default_device().unwrap()).unwrap();
    assert_eq!(predictor.predict_row(row).unwrap().class(), Some("yes"));
}

#[test]
fn a_preparation_that_makes_other_rows_is_refused() {
    let _shared = COUNTING.read().unwrap();
    let refused = |model: Model, preparation: Preparation| {
        model.with_preparation(preparation).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let table = of_table().about().preparation.clone();
    let images = of_images().about().preparation.clone();
    assert!(refused(of_images(), table).contains("makes rows of"));
    assert!(refused(of_table(), images).contains("its images are [1, 6, 6]"));
    // Its target asks for classes, and the layers give one number.
    let plan = of_table().about().preparation.table().unwrap().clone();
    let width = plan.width();
    let set = Set::numbers(vec![0.5; 4 * width], Form::numbers(&[width]), vec![1.0; 4], 1).unwrap();
    let trainer = Trainer::new(Sequential::new().dense(3), Mse::new(), Sgd::new(0.01));
    let wide = trainer
        .epochs(1)
        .quiet()
        .fit(&Set::numbers(set.inputs().clone(), set.x(), vec![1.0; 12], 3).unwrap());
    let error = wide.unwrap().with_preparation(plan).err().unwrap().to_string();
    assert!(error.contains("2 classes"), "{error}");
}

/// What another kiln wrote of a preparation names the file and the mend; what is damaged, the file and the fault.
#[test]
fn a_preparation_that_is_not_known_names_the_file_and_the_mend() {
    let _shared = COUNTING.read().unwrap();
    let folder = Folder::new("unknown");
    let path = folder.at("model.json");
    of_images().save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    let with = |preparation: serde_json::Value| {
        let mut changed = whole.clone();
        changed.as_object_mut().unwrap().remove("checksum");
        changed["about"]["model"]["preparation"] = preparation;
        std::fs::write(&path, changed.to_string()).unwrap();
        Model::load(&path).map(|model| model.about().preparation.clone()).map_err(|error| error.to_string())
    };
    let images = |size: usize| serde_json::json!({ "images": { "channels": 1, "height": 6, "width": size } });
    let plain = ImagePreparation::new(ImageSize { channels: 1, height: 6, width: 6 });
    assert_eq!(with(images(6)), Ok(plain.into()), "as `kiln import` wrote it");
    assert_eq!(with(serde_json::Value::Null), Ok(Preparation::Unsaid));
    for (preparation, says) in [
        (images(7), "its input is [1, 6, 6]"),
        (serde_json::json!({ "series": { "lags": 3 } }), "\"series\""),
        (serde_json::json!({}), "says nothing"),
        (serde_json::json!(3), "no object"),
        (serde_json::json!({ "images": { "channels": 1, "height": 6 } }), "missing field `width`"),
        (
            serde_json::json!({ "images": { "channels": 1, "height": 6, "width": 6, "crop": 7 } }),
            "a share of 7",
        ),
        (serde_json::json!({ "table": { "version": 9 } }), "preparation of a table is damaged"),
        (serde_json::json!({ "text": { "window": 3 } }), "missing field `tokens`"),
    ] {
        let error = with(preparation.clone()).unwrap_err();
        assert!(error.contains("model.json") && error.contains(says), "{preparation}: {error}");
        let is_foreign = preparation.get("series").is_some();
        assert!(!is_foreign || error.contains("read it with the kiln that wrote it"), "{error}");
    }
}
