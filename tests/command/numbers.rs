//! Numbers that are learned otherwise than by their mean: skewed ones, intervals, counts; alone and side by side, through the life of a model.

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::kiln;

/// Homes whose price is a product of what they have, so that few are very dear; visits are counted; warmth is a sum.
fn homes() -> String {
    let mut text = "a,b,price,visits,warmth\n".to_string();
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    for _ in 0..600 {
        let (a, b) = (2.0 * uniform() - 1.0, 2.0 * uniform() - 1.0);
        let noise = uniform() + uniform() + uniform() - 1.5;
        let price = 1000.0 * (2.0 * a + b + 0.5 * noise).exp();
        let (mean, mut visits) = ((0.5 + a).exp(), -1);
        let mut left = 0.0;
        while left < mean {
            left -= (1.0 - uniform()).ln();
            visits += 1;
        }
        text += &format!("{a:.4},{b:.4},{price:.2},{visits},{:.3}\n", 20.0 + 3.0 * a + noise);
    }
    text
}

#[test]
fn every_way_to_learn_a_number_goes_through_the_life_of_a_model() {
    let folder = kiln("numbers");
    folder.write("homes.csv", homes());
    let result = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    // Targets and flags, what is said, the columns that are predicted, and figures of the test with what they are above.
    for (at, (flags, says, columns, figures)) in [
        (&["--target", "price"][..], "price is skewed", &["predicted price"][..], &[("r2", 0.5)][..]),
        (
            &["--target", "price", "--target-scale", "as-is"],
            "price is a number, ",
            &["predicted price"],
            &[("r2", 0.3)],
        ),
        (
            &["--target", "warmth", "--interval", "0.8"],
            "80 % of all lie",
            &["predicted warmth", "warmth.low", "warmth.high"],
            &[("coverage", 0.6), ("r2", 0.7)],
        ),
        (
            &["--target", "price", "--interval", "0.8"],
            "learned by its logarithm",
            &["predicted price", "price.low", "price.high"],
            &[("coverage", 0.6), ("r2", 0.4)],
        ),
        (
            &["--target", "visits", "--task", "count"],
            "visits is a count",
            &["predicted visits"],
            &[("r2", 0.2), ("poisson-deviance", 0.5)],
        ),
        (
            &["--target", "price,warmth", "--target-scale", "log,as-is", "--interval", "0.9"],
            "price is a number, learned by its logarithm",
            &["predicted price", "price.low", "price.high", "predicted warmth", "warmth.low", "warmth.high"],
            &[("price.coverage", 0.7), ("warmth.coverage", 0.7)],
        ),
        (
            &["--target", "visits,warmth", "--task", "count,number"],
            "visits is a count",
            &["predicted visits", "predicted warmth"],
            &[("warmth.r2", 0.7)],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("r{at}");
        let others = ["price", "visits", "warmth"].into_iter().filter(|name| !flags[1].contains(name));
        let ignored = others.collect::<Vec<_>>().join(",");
        let common = ["train", "homes.csv", "--ignore", &ignored, "--epochs", "60", "--out", &out];
        let (shown, said) = texts(&folder.run(&[&common[..], flags].concat()));
        assert!(said.contains(says), "{flags:?}: {said}");
        let done = result(&format!("{out}/result.json"));
        for (figure, least) in figures {
            assert!(
                done["test"][*figure].as_f64().is_some_and(|value| value > *least),
                "{flags:?}: {figure}: {done}"
            );
            assert!(shown.contains(figure.rsplit('.').next().unwrap()), "{flags:?}: {shown}");
        }
        let report = String::from_utf8(folder.read(&format!("{out}/report.html"))).unwrap();
        assert!(report.contains("Predicted and true"));
        // What is predicted is what the evaluation counts.
        let model = format!("{out}/model.kiln");
        let told: Value =
            serde_json::from_str(&folder.out(&["eval", &model, "homes.csv", "--json"])).unwrap();
        let csv = folder.out(&["predict", &model, "homes.csv"]);
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        assert_eq!(&header[5..], columns, "{flags:?}");
        let column = |name: &str| -> Vec<f64> {
            let place = header.iter().position(|own| *own == name).unwrap();
            csv.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect()
        };
        for name in flags[1].split(',') {
            let (truth, own) = (column(name), column(&format!("predicted {name}")));
            let off = truth.iter().zip(&own).map(|(truth, own)| (truth - own).abs()).sum::<f64>() / 600.0;
            let prefix = if flags[1].contains(',') { format!("{name}.") } else { String::new() };
            let mae = told["numbers"][format!("{prefix}mae")].as_f64().unwrap();
            assert!((off - mae).abs() < 1e-4 * mae, "{flags:?}: {off}, {mae}");
            if !flags.contains(&"--interval") {
                continue;
            }
            let (low, high) = (column(&format!("{name}.low")), column(&format!("{name}.high")));
            assert!(low.iter().zip(&own).zip(&high).all(|((low, own), high)| low <= own && own <= high));
            let held = truth
                .iter()
                .zip(low.iter().zip(&high))
                .filter(|(truth, (low, high))| *low <= *truth && *truth <= *high);
            let coverage = told["numbers"][format!("{prefix}coverage")].as_f64().unwrap();
            assert!((coverage - held.count() as f64 / 600.0).abs() < 0.005, "{flags:?}: {coverage}");
        }
        // One row, and rows as JSON, say the same as the file.
        let one: Value = serde_json::from_str(
            folder.out(&["predict", &model, "homes.csv", "--json"]).lines().next().unwrap(),
        )
        .unwrap();
        let first = match &one["prediction"] {
            Value::Array(all) => all[0].as_f64(),
            one => one.as_f64(),
        };
        assert_eq!(first, Some(column(columns[0])[0]), "{flags:?}: {one}");
        assert_eq!(one["interval"].is_array(), flags.contains(&"--interval"), "{flags:?}: {one}");
        let inspected = folder.out(&["inspect", &model]);
        let learned = [("count", ", a count"), ("--interval", "with an interval that holds")];
        for (flag, says) in learned.iter().filter(|(flag, _)| flags.iter().any(|own| own.contains(flag))) {
            assert!(inspected.contains(says), "{flag}: {inspected}");
        }
        // Exported whole and without, gone on with, taught further.
        let exported = texts(&folder.run(&["export", &model, "m.onnx"])).0;
        assert!(exported.contains("largest difference"), "{exported}");
        folder.out(&["export", &model, "p.onnx", "--without-preprocessing"]);
        folder.out(&["import", "p.onnx", "--out", "p.kiln"]);
        let again: Value =
            serde_json::from_str(&folder.out(&["eval", "p.kiln", "homes.csv", "--json"])).unwrap();
        for (figure, _) in figures {
            let [was, is] = [&told, &again].map(|told| told["numbers"][*figure].as_f64().unwrap());
            assert!((was - is).abs() < 1e-6, "{flags:?}: {figure} {was}, {is}");
        }
        folder.out(&["train", "--resume", &out, "--quiet"]);
        let after = folder.out(&["eval", &model, "homes.csv", "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&after).unwrap()["numbers"], told["numbers"], "{flags:?}");
        let further = format!("f{at}");
        folder.out(&["train", "homes.csv", "--from", &model, "--epochs", "1", "--quiet", "--out", &further]);
    }
}

#[test]
fn predictions_of_skewed_numbers_have_the_right_mean() {
    let folder = kiln("levelled");
    folder.write("homes.csv", homes());
    let train =
        ["train", "homes.csv", "--target", "price", "--ignore", "visits,warmth", "--epochs", "60", "--quiet"];
    folder.out(&[&train[..], &["--refit", "--out", "r"]].concat());
    let csv = folder.out(&["predict", "r/model.kiln", "homes.csv"]);
    let sum = |place: usize| -> f64 {
        csv.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse::<f64>().unwrap()).sum()
    };
    let share = sum(5) / sum(2);
    assert!((0.9..1.1).contains(&share), "{share}");
}

#[test]
fn what_does_not_suit_a_number_is_refused_with_the_mend() {
    let folder = kiln("refused numbers");
    folder.write("homes.csv", homes());
    folder.write(
        "below.csv",
        "a,y\n1,-1.5\n2,3.25\n3,4.5\n4,5.5\n5,1.25\n6,2\n7,8\n8,9\n9,10\n10,11\n11,12\n12,13\n",
    );
    folder.write(
        "kinds.csv",
        "a,y\n1,red\n2,blue\n3,red\n4,blue\n5,red\n6,blue\n7,red\n8,blue\n9,red\n10,blue\n",
    );
    for (flags, says) in [
        (&["below.csv", "--target", "y", "--task", "count"][..], "the target isn't a count"),
        (&["below.csv", "--target", "y", "--target-scale", "log"], "the least is -1.5"),
        (&["below.csv", "--target", "y", "--target-scale", "root"], "log or as-is"),
        (&["homes.csv", "--target", "price", "--target-scale", "log,log"], "2 scales of 1 target"),
        (&["homes.csv", "--target", "price", "--interval", "0"], "between 0 and 1"),
        (&["homes.csv", "--target", "visits", "--task", "count", "--interval", "0.9"], "has no interval"),
        (&["kinds.csv", "--target", "y", "--interval", "0.9"], "predicted by its classes"),
        (
            &["kinds.csv", "--target", "y", "--task", "counts"],
            "--task is classes, ordinal, labels, number or count",
        ),
    ] {
        let said = folder.error(&[&["train"], flags].concat()).1;
        assert!(said.contains(says), "{flags:?}: {said}");
    }
}

#[test]
fn folds_keep_rows_together_as_parts_do() {
    let folder = kiln("tied folds");
    let mut text = "a,who,when,y\n".to_string();
    for row in 0..120 {
        text += &format!(
            "{}.5,p{},2024-01-{:02},{}\n",
            row % 7,
            row % 12,
            1 + row % 28,
            if row % 12 < 6 { "yes" } else { "no" }
        );
    }
    folder.write("rows.csv", text);
    let train = ["train", "rows.csv", "--target", "y", "--epochs", "2", "--k-fold", "3"];
    for (at, flags) in [
        &["--group", "who"][..],
        &["--time", "when"],
        &["--sampling", "balanced", "--class-weights", "balanced"],
    ]
    .into_iter()
    .enumerate()
    {
        let (_, said) = texts(&folder.run(&[&train[..], flags, &["--out", &format!("r{at}")]].concat()));
        assert!(said.contains("3 folds:"), "{flags:?}: {said}");
    }
    let said =
        folder.error(&[&train[..4], &["--epochs", "2", "--group", "who", "--k-fold", "40"]].concat()).1;
    assert!(said.contains("groups can't be cut in 40 folds"), "{said}");
}
