//! Models that are fitted at once, thresholds between two classes, and classes in order: through the life of a model.

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// Patients of some wards: who is ill follows from age and dose, how ill from the same, the stay from age; wards are words.
fn patients() -> String {
    let mut text = "age,dose,ward,ill,grade,stay,visits,who\n".to_string();
    let mut state = 11u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    for row in 0..500 {
        let (age, dose, ward) = (20.0 + 60.0 * uniform(), uniform(), (3.0 * uniform()) as usize);
        let noise = uniform() + uniform() - 1.0;
        let score = (age - 62.0) / 10.0 - 2.0 * dose + noise;
        let ill = if score > 0.0 { "yes" } else { "no" };
        let grade = ["mild", "medium", "grave"][usize::from(score > -2.0) + usize::from(score > 0.0)];
        let stay = 0.2 * age + [0.0, 3.0, -2.0][ward] + noise;
        let shown = if row % 40 == 3 { String::new() } else { format!("{dose:.3}") };
        text += &format!(
            "{age:.1},{shown},w{ward},{ill},{grade},{stay:.2},{},p{}\n",
            (3.0 * dose) as u32,
            row % 25
        );
    }
    text
}

#[test]
fn a_linear_model_goes_through_the_life_of_a_model_for_every_task() {
    let folder = kiln("linear");
    folder.write("patients.csv", patients());
    let result = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    for (at, (flags, ignored, says, figure, least)) in [
        (&["--target", "stay"][..], "ill,grade,visits,who", "is best on rows that were held out", "r2", 0.9),
        (
            &["--target", "stay", "--embed", "ward"],
            "ill,grade,visits,who",
            "embed-columns 4:1, dense 1",
            "r2",
            0.9,
        ),
        (&["--target", "ill"], "grade,stay,visits,who", "L2 of", "accuracy", 0.85),
        (
            &["--target", "ill", "--class-weights", "balanced", "--threshold", "f1"],
            "grade,stay,visits,who",
            "is said above a probability of",
            "f1",
            0.7,
        ),
        (&["--target", "grade"], "ill,stay,visits,who", "dense 3", "accuracy", 0.75),
        (
            &["--target", "stay", "--interval", "0.8"],
            "ill,grade,visits,who",
            "80 % of all lie",
            "coverage",
            0.65,
        ),
        (&["--target", "visits", "--task", "count"], "ill,grade,stay,who", "visits is a count", "r2", 0.3),
        (&["--target", "stay,ill"], "grade,visits,who", "stay: ", "stay.r2", 0.9),
        (&["--target", "stay", "--monotone", "age:-"], "ill,grade,visits,who", "dense 1", "loss", 0.5),
        (&["--target", "stay", "--refit"], "ill,grade,visits,who", "dense 1", "r2", 0.9),
        (&["--target", "stay", "--group", "who", "--k-fold", "3"], "ill,grade,visits", "3 folds:", "r2", 0.9),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("r{at}");
        let common = ["train", "patients.csv", "--preset", "linear", "--ignore", ignored, "--out", &out];
        let (shown, said) = texts(&folder.run(&[&common[..], flags].concat()));
        assert!(said.contains(says), "{flags:?}: {said}");
        assert!(shown.contains("model.kiln after"), "{shown}");
        let done = result(&format!("{out}/result.json"));
        assert!(done["test"][figure].as_f64().is_some_and(|value| value > least), "{flags:?}: {done}");
        assert_eq!(done["importances"]["measured"].as_array().map(|all| all.len() > 1), Some(true));
        assert_eq!(done["refit"]["rows"].as_u64(), flags.contains(&"--refit").then_some(400));
        for name in ["report.html", "config.toml", "environment.json", "model.kiln"] {
            assert!(!folder.read(&format!("{out}/{name}")).is_empty(), "{name}");
        }
        let model = format!("{out}/model.kiln");
        let told = folder.out(&["eval", &model, "patients.csv", "--json"]);
        let rows = folder.out(&["predict", &model, "patients.csv"]);
        assert_eq!(rows.lines().count(), 501);
        assert!(folder.out(&["inspect", &model]).contains("dense"));
        let exported = texts(&folder.run(&["export", &model, "m.onnx"])).0;
        assert!(exported.contains("largest difference"), "{exported}");
        // Once more from what the run's folder says, with another number of threads: the same bits.
        let before = folder.read(&model);
        folder.out(&["train", "--resume", &out, "--quiet", "--threads", "1"]);
        assert_eq!(folder.out(&["eval", &model, "patients.csv", "--json"]), told, "{flags:?}");
        assert_eq!(folder.read(&model).len(), before.len());
        // A threshold is kept, and what is predicted follows it.
        if flags.contains(&"--threshold") {
            assert!(folder.out(&["inspect", &model]).contains("decides   yes above"));
            let told: Value = serde_json::from_str(&told).unwrap();
            let cell = |line: &str, place: usize| line.split(',').nth(place).unwrap().to_string();
            let right = rows.lines().skip(1).filter(|line| cell(line, 3) == cell(line, 8)).count();
            let accuracy = told["numbers"]["accuracy"].as_f64().unwrap();
            assert!((accuracy - right as f64 / 500.0).abs() < 1e-9, "{accuracy}");
        }
    }
    let refused =
        |more: &[&str]| folder.error(&[&["train", "patients.csv", "--preset", "linear"], more].concat()).1;
    for (more, says) in [
        (&["--target", "stay", "--clip", "3"][..], "--clip changes nothing for a linear model"),
        (&["--target", "stay", "--monotone", "ward:+"], "isn't learned as a number"),
        (&["--target", "stay", "--monotone", "agee:+"], "did you mean age?"),
        (&["--target", "stay", "--monotone", "age"], "a column, a colon"),
        (&["--target", "grade", "--monotone", "age:+"], "signs are for numbers and two classes"),
        (&["--target", "stay", "--threshold", "f1"], "one target of two classes"),
        (&["--target", "ill", "--threshold", "2"], "between 0 and 1"),
    ] {
        let said = refused(more);
        assert!(said.contains(says), "{more:?}: {said}");
    }
    let said =
        folder.error(&["train", "patients.csv", "--target", "stay", "--monotone", "age:+", "--quick"]).1;
    assert!(said.contains("a network can't be held to it"), "{said}");
}

#[test]
fn classes_in_order_are_learned_and_evaluated_as_such() {
    let folder = kiln("ordinal");
    folder.write("patients.csv", patients());
    let common = [
        "train",
        "patients.csv",
        "--target",
        "grade",
        "--ignore",
        "ill,stay,visits,who",
        "--task",
        "ordinal",
    ];
    let order = ["--order", "mild,medium,grave"];
    let run = folder.run(&[&common[..], &order, &["--epochs", "30", "--out", "r"]].concat());
    let (shown, said) = texts(&run);
    assert!(said.contains("classes from little to much of grade: mild, medium, grave"), "{said}");
    assert!(shown.contains("quadratic-kappa") && shown.contains("classes-off"), "{shown}");
    let told: Value =
        serde_json::from_str(&folder.out(&["eval", "r/model.kiln", "patients.csv", "--json"])).unwrap();
    let rows = folder.out(&["predict", "r/model.kiln", "patients.csv"]);
    assert!(rows.lines().next().unwrap().ends_with("prediction,p(mild),p(medium),p(grave)"));
    let rank = |word: &str| ["mild", "medium", "grave"].iter().position(|name| *name == word).unwrap();
    let off = rows.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        rank(cells[4]).abs_diff(rank(cells[8])) as f64
    });
    let mean = off.sum::<f64>() / 500.0;
    assert!((told["numbers"]["classes-off"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert!(told["numbers"]["quadratic-kappa"].as_f64().unwrap() > 0.7, "{told}");
    folder.out(&["export", "r/model.kiln", "m.onnx"]);
    folder.out(&["train", "--resume", "r", "--quiet"]);
    folder.out(&[
        "train",
        "patients.csv",
        "--from",
        "r/model.kiln",
        "--epochs",
        "1",
        "--quiet",
        "--out",
        "f",
    ]);
    assert!(folder.out(&["eval", "f/model.kiln", "patients.csv"]).contains("quadratic-kappa"));
    for (more, says) in
        [(&[][..], "tell their order"), (&["--order", "mild,grave"], "where \"medium\" stands")]
    {
        let said = folder.error(&[&common[..], more].concat()).1;
        assert!(said.contains(says), "{more:?}: {said}");
    }
    let said =
        folder.error(&["train", "patients.csv", "--target", "grade", "--order", "mild,medium,grave"]).1;
    assert!(said.contains("say --task ordinal"), "{said}");
}

#[test]
fn labels_are_learned_each_by_itself() {
    let folder = kiln("labels");
    let mut text = "a,b,tags\n".to_string();
    for row in 0..400 {
        let (a, b) = (((row * 7919) % 101) as f64 / 50.0 - 1.0, ((row * 104_729) % 97) as f64 / 48.0 - 1.0);
        let tags = [(a > 0.0, "hot"), (b > 0.3, "red"), (a + b > -1.5, "any")];
        let tags: Vec<&str> = tags.iter().filter(|(is, _)| *is).map(|(_, tag)| *tag).collect();
        text += &format!("{a:.3},{b:.3},{}\n", tags.join(";"));
    }
    folder.write("rows.csv", text);
    for (at, flags) in [&["--epochs", "30"][..], &["--preset", "linear"]].into_iter().enumerate() {
        let out = format!("r{at}");
        let common = ["train", "rows.csv", "--target", "tags", "--task", "labels", "--out", &out];
        let (shown, said) = texts(&folder.run(&[&common[..], flags].concat()));
        assert!(said.contains("labels of tags, with ; between them: any, hot, red"), "{said}");
        assert!(shown.contains("f1 micro") && shown.contains("hamming"), "{shown}");
        let model = format!("{out}/model.kiln");
        let told: Value = serde_json::from_str(&folder.out(&["eval", &model, "rows.csv", "--json"])).unwrap();
        let rows = folder.out(&["predict", &model, "rows.csv"]);
        assert!(rows.lines().next().unwrap().contains("predicted tags=any,p(tags=any=no),p(tags=any=yes)"));
        let (mut wrong, mut all) = (0, 0);
        for line in rows.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let has: Vec<&str> = cells[2].split(';').collect();
            // A row without labels isn't evaluated.
            if cells[2].is_empty() {
                continue;
            }
            for (place, tag) in [(3, "any"), (6, "hot"), (9, "red")] {
                wrong += usize::from((cells[place] == "yes") != has.contains(&tag));
                all += 1;
            }
        }
        let hamming = told["numbers"]["hamming"].as_f64().unwrap();
        assert!((hamming - wrong as f64 / all as f64).abs() < 1e-9, "{hamming}");
        assert!(told["numbers"]["f1 micro"].as_f64().unwrap() > 0.9, "{told}");
        folder.out(&["export", &model, "m.onnx"]);
        folder.out(&["train", "--resume", &out, "--quiet"]);
        assert_eq!(folder.out(&["predict", &model, "rows.csv"]), rows);
    }
    let said = folder.error(&["train", "rows.csv", "--target", "tags,b", "--task", "labels,number"]).1;
    assert!(said.contains("a column of labels is predicted alone"), "{said}");
}
