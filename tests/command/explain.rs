//! Why a model answers as it does, as a person asks: tables of every kind of model, pictures, texts; changes, neighbours, and what makes no sense.

use kiln::data::{Picture, Rng};
use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;
use super::zip::zip;

/// Rows whose kind follows from `size` and `place`, and whose price does too; `noise` says nothing.
fn rows(count: usize) -> String {
    let mut rng = Rng::new(9);
    let mut text = "size,place,noise,price,kind\n".to_string();
    for _ in 0..count {
        let (size, place, noise) =
            (rng.uniform() * 10.0, ["north", "south", "east"][rng.below(3)], rng.normal());
        let price = 8.0 * size + if place == "east" { 40.0 } else { 0.0 } + rng.normal();
        let kind = if price > 60.0 { "dear" } else { "cheap" };
        text += &format!("{size:.2},{place},{noise:.2},{price:.2},{kind}\n");
    }
    text
}

const NEW: &str = "size,place,noise\n1.0,north,0.3\n9.5,east,-1.0\n,south,0.0\n";

/// Objects that the command printed.
fn objects(folder: &Program, arguments: &[&str]) -> Vec<Value> {
    folder.out(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the columns move adds up, to this share of the difference.
fn adds_up(object: &Value, share: f64) {
    let number = |name: &str| object[name].as_f64().unwrap();
    let moved: f64 = object["moved"].as_object().unwrap().values().map(|moved| moved.as_f64().unwrap()).sum();
    let (output, baseline) = (number("output"), number("baseline"));
    let off = (output - baseline - moved).abs();
    assert!(off <= share * (output - baseline).abs().max(0.1) + 1e-5 * output.abs(), "{object}");
    assert!((number("rest").abs() - off).abs() < 1e-9, "{object}");
}

#[test]
fn every_kind_of_model_says_what_its_columns_move() {
    let folder = kiln("explain");
    folder.write("rows.csv", rows(300));
    folder.write("new.csv", NEW);
    let quick: &[&str] = &["--epochs", "30", "--quiet"];
    for (preset, more, method, share) in [
        ("linear", &[][..], "exact", 1e-4),
        ("trees", &[], "exact", 1e-4),
        ("mlp", quick, "gradients", 1e-2),
        ("tabm", quick, "gradients", 1e-2),
        ("realmlp", quick, "gradients", 1e-2),
    ] {
        for (target, other) in [("kind", "price"), ("price", "kind")] {
            let out = format!("{preset}-{target}");
            let train = [
                "train", "rows.csv", "--preset", preset, "--target", target, "--ignore", other, "--out", &out,
            ];
            folder.out(&[&train[..], more].concat());
            let model = format!("{out}/model.kiln");
            let all = objects(&folder, &["explain", &model, "new.csv", "--json"]);
            assert_eq!(all.len(), 3);
            for object in &all {
                assert_eq!(object["method"], method, "{out}");
                adds_up(object, share);
            }
            let moved = |row: usize, name: &str| all[row]["moved"][name].as_f64().unwrap().abs();
            assert!(moved(1, "size") > 3.0 * moved(1, "noise"), "{out}: {}", all[1]);
            let said = folder.out(&["explain", &model, "new.csv", "--top", "2"]);
            assert!(
                said.contains("row 2: ") && said.contains("1 more") && said.contains("in the mean"),
                "{said}"
            );
            let sampled = objects(&folder, &["explain", &model, "new.csv", "--method", "sampled", "--json"]);
            sampled.iter().for_each(|object| adds_up(object, 1e-4));
            assert!(sampled[0]["errors"]["size"].as_f64().is_some(), "{}", sampled[0]);
            folder.out(&["explain", &model, "new.csv", "--out", "why.csv"]);
            let written = String::from_utf8(folder.read("why.csv")).unwrap();
            assert!(
                written.starts_with("row,prediction,class,output,baseline,rest,moved by size"),
                "{written}"
            );
            assert_eq!(written.lines().count(), 4);
        }
    }
}

#[test]
fn a_change_turns_the_answer_and_the_nearest_rows_are_kept_where_asked_for() {
    let folder = kiln("explain-change");
    folder.write("rows.csv", rows(400));
    folder.write("new.csv", NEW);
    let train =
        ["train", "rows.csv", "--preset", "trees", "--ignore", "price", "--target", "kind", "--out", "kept"];
    folder.out(&[&train[..], &["--keep-neighbours", "100"]].concat());
    assert!(folder.out(&["inspect", "kept/model.kiln"]).contains("keeps     100 rows of the training"));
    let asked = ["explain", "kept/model.kiln", "new.csv", "--json", "--change", "--neighbours", "2"];
    let all = objects(&folder, &asked);
    assert!(all[0]["change"]["then"].as_str().unwrap().starts_with("dear"), "{}", all[0]);
    let near = all[1]["neighbours"].as_array().unwrap();
    assert_eq!(
        (near.len(), &near[0]["answers"][0], &near[0]["values"]["place"]),
        (2, &"dear".into(), &"east".into())
    );
    assert!(near[0]["distance"].as_f64() <= near[1]["distance"].as_f64(), "{}", all[1]);
    let said = folder.out(&[
        "explain",
        "kept/model.kiln",
        "new.csv",
        "--change-to",
        "dear",
        "--fixed",
        "size,place",
    ]);
    assert!(said.contains("no change of 3 columns at most was found"), "{said}");
    assert!(said.contains("nothing needs to change"), "{said}");
    let train =
        ["train", "rows.csv", "--preset", "linear", "--ignore", "kind", "--target", "price", "--out", "line"];
    folder.out(&train);
    let line = folder.out(&[
        "explain",
        "line/model.kiln",
        "new.csv",
        "--above",
        "50",
        "--fixed",
        "place",
        "--rows",
        "1",
    ]);
    assert!(line.contains("to come above 50: size from 1 to 6."), "{line}");
    assert!(!folder.out(&["inspect", "line/model.kiln"]).contains("keeps "));
}

#[test]
fn blends_and_imported_networks_are_sampled() {
    let folder = kiln("explain-import");
    let mut rng = Rng::new(4);
    let row = |rng: &mut Rng| {
        let (a, b) = (rng.normal(), rng.normal());
        format!("{a:.3},{b:.3},{:.3}\n", 3.0 * a)
    };
    folder.write("rows.csv", (0..200).fold("a,b,y\n".to_string(), |text, _| text + &row(&mut rng)));
    folder.out(&[
        "train",
        "rows.csv",
        "--preset",
        "mlp",
        "--target",
        "y",
        "--epochs",
        "20",
        "--quiet",
        "--out",
        "run",
        "--numbers",
        "as-is",
    ]);
    folder.out(&["export", "run/model.kiln", "rows.onnx", "--without-preprocessing"]);
    folder.out(&["import", "rows.onnx", "--out", "taken.kiln"]);
    let all = objects(&folder, &["explain", "taken.kiln", "rows.csv", "--json"]);
    assert_eq!((all.len(), &all[0]["method"]), (200, &"sampled".into()));
    all.iter().for_each(|object| adds_up(object, 1e-4));
    folder.write("one.csv", "a,b\n1.5,0.2\n");
    let (_, refused) = texts(&folder.run(&["explain", "taken.kiln", "one.csv"]));
    assert!(refused.contains("--background TABLE"), "{refused}");
    let one = objects(&folder, &["explain", "taken.kiln", "one.csv", "--background", "rows.csv", "--json"]);
    let moved = |name: &str| one[0]["moved"][name].as_f64().unwrap().abs();
    assert!(moved("a") > 5.0 * moved("b"), "{}", one[0]);
    let blend = "blend(dense 16, relu, dense 2; dense 8, tanh, dense 2) classes";
    folder.write("kinds.csv", rows(120));
    folder.out(&[
        "train",
        "kinds.csv",
        "--layers",
        blend,
        "--target",
        "kind",
        "--ignore",
        "price",
        "--epochs",
        "5",
        "--quiet",
        "--out",
        "blend",
    ]);
    folder.write("new.csv", NEW);
    let all = objects(&folder, &["explain", "blend/model.kiln", "new.csv", "--json"]);
    all.iter().for_each(|object| adds_up(object, 1e-2));
}

#[test]
fn a_pictures_drawing_shows_the_patch_that_was_planted() {
    let folder = kiln("explain-pictures");
    let mut rng = Rng::new(2);
    for number in 0..60 {
        let mut picture = Picture::blank(16, 16);
        for at in 0..256 {
            picture.put(at / 16, at % 16, rng.below(60) as u8);
        }
        let class = number % 2;
        // A bright patch, left above or right below.
        for at in 0..9 {
            picture.put(class * 10 + 2 + at / 3, class * 10 + 2 + at % 3, 230);
        }
        folder.write(&format!("pictures/{}/{number}.png", ["above", "below"][class]), picture.png().unwrap());
    }
    folder.out(&[
        "train",
        "pictures",
        "--preset",
        "cnn",
        "--epochs",
        "12",
        "--quiet",
        "--augment",
        "none",
        "--out",
        "run",
    ]);
    for baseline in ["ground", "black", "blurred"] {
        let why = [
            "explain",
            "run/model.kiln",
            "pictures/below",
            "--out",
            baseline,
            "--baseline",
            baseline,
            "--json",
        ];
        let all = objects(&folder, &why);
        assert_eq!(all.len(), 30);
        let drawing = Picture::read(&folder.read(all[0]["drawing"].as_str().unwrap())).unwrap();
        assert_eq!(drawing.size(), (224, 224, true));
        assert!(
            all[0]["rest"].as_f64().unwrap().abs() < 0.05 * all[0]["output"].as_f64().unwrap().abs().max(1.0),
            "{}",
            all[0]
        );
    }
    let (_, refused) = texts(&folder.run(&["explain", "run/model.kiln", "pictures/below"]));
    assert!(refused.contains("--out DIR"), "{refused}");
    folder.out(&["explain", "run/model.kiln", "pictures/above/0.png"]);
    assert!(!folder.read("pictures/above/0.png.why.png").is_empty());
    let first = objects(
        &folder,
        &["explain", "run/model.kiln", "pictures/above", "--out", "first", "--rows", "2", "--json"],
    );
    assert_eq!(first.len(), 2);
    let picture = folder.read("pictures/above/0.png");
    folder.write("some.zip", zip(&[("0.png", picture)]));
    for (arguments, says) in [
        (&["some.zip"][..], "--out DIR"),
        (&["pictures/above/0.png", "--top", "3"], "--top changes nothing for a model of pictures"),
        (&["pictures/above/0.png", "--orders", "3"], "--orders changes nothing for a model of pictures"),
        (&["none.png"], "none.png"),
    ] {
        let (_, refused) = texts(&folder.run(&[&["explain", "run/model.kiln"][..], arguments].concat()));
        assert!(refused.contains(says), "{arguments:?}: {refused}");
    }
}

#[test]
fn a_texts_words_are_told_with_what_they_move() {
    let folder = kiln("explain-texts");
    let mut rng = Rng::new(3);
    let mut text = "review,kind\n".to_string();
    for row in 0..160 {
        let filler = ["story", "film", "play"][rng.below(3)];
        let word = [["good", "fine"], ["bad", "dull"]][row % 2][rng.below(2)];
        text += &format!("a {word} {filler} of {} acts,{}\n", rng.below(9), ["yes", "no"][row % 2]);
    }
    folder.write("reviews.csv", text);
    let train = ["train", "reviews.csv", "--text", "review", "--target", "kind", "--preset", "words"];
    folder.out(&[&train[..], &["--epochs", "15", "--quiet", "--out", "run"]].concat());
    let asked = ["explain", "run/model.kiln", "--text", "a fine story of 3 acts", "--class", "yes"];
    let all = objects(&folder, &[&asked[..], &["--json"]].concat());
    let pieces = all[0]["pieces"].as_array().unwrap();
    let most = pieces
        .iter()
        .max_by(|a, b| a["moved"].as_f64().unwrap().total_cmp(&b["moved"].as_f64().unwrap()))
        .unwrap();
    assert_eq!(most["piece"].as_str().unwrap().trim(), "fine", "{}", all[0]);
    assert!(folder.out(&asked).contains("fine"));
    folder.out(&[&asked[..], &["--out", "why.html"]].concat());
    assert!(String::from_utf8(folder.read("why.html")).unwrap().contains("<span style="));
    for (more, says) in [
        (&["--out", "why.html", "--json"][..], "without --out"),
        (&["--orders", "4"], "--orders changes nothing for a model of texts"),
        (&["--top", "4", "--json"], "--top is for what is shown"),
    ] {
        let (_, refused) = texts(&folder.run(&[&asked[..], more].concat()));
        assert!(refused.contains(says), "{more:?}: {refused}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_mend() {
    let folder = kiln("explain-refused");
    folder.write("rows.csv", rows(120));
    folder.write("new.csv", NEW);
    folder.out(&[
        "train", "rows.csv", "--preset", "linear", "--target", "kind", "--ignore", "price", "--out", "run",
    ]);
    let model = "run/model.kiln";
    for (arguments, says) in [
        (&["explain", model][..], "name what is to be explained"),
        (&["explain", model, "new.csv", "--class", "deer"], "did you mean dear?"),
        (&["explain", model, "new.csv", "--target", "price"], "one target"),
        (&["explain", model, "new.csv", "--above", "3"], "tells classes apart"),
        (&["explain", model, "new.csv", "--fixed", "size"], "say which"),
        (&["explain", model, "new.csv", "--change", "--fixed", "sise"], "did you mean size?"),
        (&["explain", model, "new.csv", "--neighbours", "2"], "--keep-neighbours N"),
        (&["explain", model, "new.csv", "--baseline", "black"], "changes nothing for a model of tables"),
        (&["explain", model, "new.csv", "--orders", "9"], "the model has exact ones"),
        (&["explain", model, "new.csv", "--out", "a.csv", "--json"], "--json prints all of it"),
        (&["explain", model, "none.csv"], "none.csv"),
        (&["train", "rows.csv", "--keep-neighbours", "0"], "keep-neighbours"),
    ] {
        let output = folder.run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let (_, said) = texts(&output);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
