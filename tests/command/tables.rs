//! Tables: from a file to a model that predicts.

use std::process::Stdio;

use kiln_testkit::folder::texts;
use serde_json::Value;

use super::{flowers, kiln};

#[test]
fn a_table_becomes_a_model_that_predicts() {
    let folder = kiln("table");
    folder.write("flowers.csv", flowers(300));
    let out = folder.out(&["train", "flowers.csv", "--target", "kind", "--quick", "--json"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(done["event"], "done");
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    assert!(
        done["val"]["loss"].is_number()
            && done["train"]["accuracy"].is_number()
            && done["seconds"].is_number()
    );
    let model = done["model"].as_str().unwrap();
    for file in [
        "config.toml",
        "environment.json",
        "metrics.csv",
        "metrics.jsonl",
        "result.json",
        "report.html",
        "checkpoints/last.state",
    ] {
        assert!(!folder.read(&format!("runs/flowers-1/{file}")).is_empty(), "{file}");
    }
    // Evaluated on all of it, and asked about new rows with columns in another order.
    let eval: Value = serde_json::from_str(&folder.out(&["eval", model, "flowers.csv", "--json"])).unwrap();
    assert!(eval["numbers"]["accuracy"].as_f64().unwrap() > 0.95 && eval["rows"] == 300);
    assert!(folder.out(&["eval", model, "flowers.csv"]).contains("taken for"));
    folder.write("new.csv", "colour,noise,length,width\nred,3,4.1,1.0\nwhite,9,8.2,\n");
    let predicted = folder.out(&["predict", model, "new.csv"]);
    let lines: Vec<&str> = predicted.lines().collect();
    assert_eq!(lines[0], "colour,noise,length,width,prediction,p(k0),p(k1),p(k2)");
    assert!(lines[1].contains(",k0,") && lines[2].contains(",k2,"), "{predicted}");
    let json = folder.out(&["predict", model, "new.csv", "--json"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["prediction"], "k0");
    let sum: f64 = first["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    // The same by the standard input, and by the command's other name.
    let mut child =
        folder.command(&["run", model, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &folder.read("new.csv")).unwrap();
    assert_eq!(texts(&child.wait_with_output().unwrap()).0, predicted);
    assert!(folder.out(&["inspect", model]).contains("dense 128"));
    assert!(folder.out(&["inspect", model, "--show", "program"]).contains("kernel"));
    assert!(folder.out(&["inspect", "flowers.csv"]).contains("colour"));
    assert!(folder.out(&["runs"]).contains("flowers-1"));
    // As JSON and back it is the same model, and says the same.
    folder.out(&["export", model, "flowers.json"]);
    assert_eq!(folder.out(&["predict", "flowers.json", "new.csv"]), predicted);
    folder.out(&["export", "flowers.json", "again.kiln"]);
    assert_eq!(folder.read("again.kiln"), folder.read(model));
    assert!(folder.error(&["export", model, "flowers.pb"]).1.contains(".json"));
}

#[test]
fn what_is_predicted_alone_is_what_was_counted_in_the_evaluation() {
    let folder = kiln("alone");
    let table = flowers(240);
    folder.write("flowers.csv", &table);
    folder.out(&[
        "train",
        "flowers.csv",
        "--target",
        "kind",
        "--layers",
        "dense",
        "--lr",
        "0.001",
        "--epochs",
        "2",
        "--quiet",
        "--out",
        "run",
    ]);
    let eval: Value =
        serde_json::from_str(&folder.out(&["eval", "run/model.kiln", "flowers.csv", "--json"])).unwrap();
    // Row by row, each in a file of its own: no statistic of the rows around it can take part.
    let (header, rows) = table.split_once('\n').unwrap();
    let mut right = 0;
    for row in rows.lines().step_by(6) {
        folder.write("one.csv", format!("{header}\n{row}\n"));
        let predicted = folder.out(&["predict", "run/model.kiln", "one.csv"]);
        let cells: Vec<&str> = predicted.lines().nth(1).unwrap().split(',').collect();
        right += usize::from(cells[4] == cells[5]);
    }
    folder.write(
        "some.csv",
        rows.lines().step_by(6).fold(format!("{header}\n"), |text, row| text + row + "\n"),
    );
    let some: Value =
        serde_json::from_str(&folder.out(&["eval", "run/model.kiln", "some.csv", "--json"])).unwrap();
    assert_eq!(some["numbers"]["accuracy"].as_f64().unwrap(), right as f64 / 40.0);
    assert!(right < 40 && eval["rows"] == 240, "a model that is always right would hide a fault");
}

#[test]
fn rows_that_stand_in_two_parts_are_counted_and_said() {
    let folder = kiln("repeated");
    folder.write("once.csv", flowers(120));
    let rows: String = flowers(120).lines().skip(1).map(|row| format!("{row}\n{row}\n")).collect();
    folder.write("twice.csv", format!("length,width,colour,noise,kind\n{rows}"));
    let said = |file: &str| {
        let output = folder.run(&[
            "train",
            file,
            "--target",
            "kind",
            "--epochs",
            "1",
            "--out",
            file.trim_end_matches(".csv"),
        ]);
        texts(&output).1
    };
    assert!(said("twice.csv").contains("test rows also stand among the others"), "{}", said("twice.csv"));
    assert!(!said("once.csv").contains("also stand"));
}

#[test]
fn columns_are_treated_as_told_and_frames_are_data() {
    let folder = kiln("columns");
    folder.write("flowers.csv", flowers(300));
    let train = |more: &[&str]| {
        let common = ["--target", "kind", "--epochs", "1"];
        texts(&folder.run(&[&["train", "flowers.csv"], &common[..], more].concat())).1
    };
    assert!(train(&["--columns", "length: robust, noise: drop"]).contains("3 columns become"));
    assert!(train(&["--columns", "noise: words"]).contains("4 columns become"));
    assert!(!train(&["--columns", "noise: words"]).contains("become 7 numbers"));
    assert!(train(&[]).contains("4 columns become 7 numbers"), "{}", train(&[]));
    for (told, mend) in [
        ("length: robst", "did you mean robust?"),
        ("lenght: robust", "did you mean \"length\"?"),
        ("length", "a colon"),
        ("colour: robust", "colour"),
    ] {
        assert!(train(&["--columns", told]).contains(mend), "{told}: {}", train(&["--columns", told]));
    }
    folder.out(&["train", "flowers.csv", "--target", "kind", "--epochs", "1", "--frame", "f.kdf", "--quiet"]);
    assert!(folder.out(&["inspect", "f.kdf"]).contains("300 prepared rows"));
    folder.out(&["train", "f.kdf", "--epochs", "1", "--quiet", "--out", "framed"]);
    folder.out(&["eval", "framed/model.kiln", "flowers.csv"]);
}

#[test]
fn a_number_is_predicted_in_its_own_unit() {
    let folder = kiln("number");
    let mut text = "rooms,area,price\n".to_string();
    for row in 0..200u32 {
        let (rooms, area) = (1 + row % 5, 30 + (row * 37) % 90);
        text += &format!("{rooms},{area},{}\n", 50_000 + 20_000 * rooms + 1_000 * area);
    }
    folder.write("houses.csv", text);
    let out = folder.out(&["train", "houses.csv", "--json", "--epochs", "200"]);
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["r2"].as_f64().unwrap() > 0.95, "{done}");
    folder.write("new.csv", "rooms,area\n3,60\n");
    let predicted = folder.out(&["predict", "runs/houses-1/model.kiln", "new.csv"]);
    let price: f64 = predicted.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!((price - 170_000.0).abs() < 15_000.0, "{predicted}");
}

#[test]
fn words_become_vectors_that_are_learned() {
    let folder = kiln("embed");
    let mut text = "place,x,y\n".to_string();
    for row in 0..600 {
        let place = (row * 7) % 40;
        text +=
            &format!("place{place},{},{}\n", row % 13, if (place * place) % 5 < 2 { "low" } else { "high" });
    }
    folder.write("places.csv", text);
    let out =
        folder.out(&["train", "places.csv", "--target", "y", "--embed", "place", "--json", "--epochs", "60"]);
    let begin: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert!(begin["layers"].as_str().unwrap().starts_with("embed-columns 41:"), "{begin}");
    let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(done["test"]["accuracy"].as_f64().unwrap() > 0.95, "{done}");
    folder.write("new.csv", "x,place\n1,place1\n2,nowhere\n");
    let predicted = folder.out(&["predict", "runs/places-1/model.kiln", "new.csv"]);
    assert!(predicted.lines().nth(1).unwrap().contains(",low,"), "{predicted}");
}

#[test]
fn a_training_is_decided_by_the_figure_that_was_chosen_and_done_once_more_on_all_rows() {
    let folder = kiln("refit");
    folder.write("flowers.csv", flowers(300));
    let common = ["flowers.csv", "--target", "kind", "--epochs", "12", "--early-stop", "4"];
    let train = |more: &[&str]| texts(&folder.run(&[&["train"][..], &common, more].concat()));
    let read = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    let (_, said) = train(&["--metric", "balanced-accuracy", "--refit", "--out", "r"]);
    assert!(said.contains("val_balanced-accuracy") && said.contains("once more on all 240 rows"), "{said}");
    let result = read("r/result.json");
    let epochs = result["best"]["epoch"].as_u64().unwrap();
    assert_eq!(result["best"]["number"], "val_balanced-accuracy");
    assert_eq!((&result["refit"]["epochs"], &result["refit"]["rows"]), (&epochs.into(), &240.into()));
    assert!(String::from_utf8(folder.read("r/report.html")).unwrap().contains("once more on all 240 rows"));
    // The best epoch is the first of the highest, and the second training is as long.
    let epochs_of = |name: &str| -> Vec<Value> {
        let text = String::from_utf8(folder.read(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = epochs_of("r/metrics.jsonl");
    let figure = |epoch: &Value| epoch["val_balanced-accuracy"].as_f64().unwrap();
    let best = first.iter().map(figure).fold(0.0, f64::max);
    assert_eq!(first.iter().position(|epoch| figure(epoch) == best), Some(epochs as usize - 1));
    assert_eq!(epochs_of("r/refit.jsonl").len() as u64, epochs);
    // The figures of the first model are those of the same training without the second.
    train(&["--metric", "balanced-accuracy", "--out", "once"]);
    let once = read("once/result.json");
    assert_eq!((&once["val"], &once["train"]), (&result["val"], &result["train"]));
    assert_ne!(once["test"]["loss"], result["test"]["loss"]);
    assert_eq!((&once["refit"], &once["best"]), (&Value::Null, &result["best"]));
    // A run that is over goes on to the same end, from the second training alone.
    let model = folder.read("r/model.kiln");
    train(&["--resume", "r"]);
    assert_eq!(read("r/result.json")["test"], result["test"]);
    assert_eq!(folder.read("r/model.kiln").len(), model.len());
    let refused = |arguments: &[&str]| {
        folder.error(&[&["train", "flowers.csv", "--target", "kind"], arguments].concat()).1
    };
    assert!(refused(&["--metric", "r2"]).contains("isn't of classes; there are loss, accuracy"));
    assert!(refused(&["--val-fraction", "0", "--refit"]).contains("--refit trains on the validation rows"));
    assert!(refused(&["--time-limit", "0s"]).contains("write a time above 0"));
}

#[test]
fn several_numbers_are_predicted_each_in_its_own_unit() {
    let folder = kiln("several");
    let mut text = "area,rooms,kind,\"price, net\",rent,built\n".to_string();
    for row in 0..400usize {
        let (area, rooms) = (40 + (row * 7919) % 97, 1 + (row * 31) % 6);
        let rent = if row == 9 { String::new() } else { format!("{:.1}", 3.0 + area as f64 / 10.0) };
        text += &format!(
            "{area},{rooms},{},{},{rent},{}\n",
            ["flat", "hut"][row % 2],
            1000 * area + 9000 * rooms,
            1950 + row % 70
        );
    }
    folder.write("homes.csv", &text);
    let train =
        ["train", "homes.csv", "--target", "4,rent", "--epochs", "60", "--metric", "mae", "--out", "r"];
    let (said_out, said) = texts(&folder.run(&train));
    assert!(said.contains("1 row is left out, because price, net or rent is missing there"), "{said}");
    assert!(said.contains("price, net is a number") && said.contains("; rent is a number"), "{said}");
    let lines: Vec<&str> = said_out.lines().collect();
    assert!(
        lines.iter().any(|line| line.trim_start().starts_with("rent") && line.contains("rmse")),
        "{said_out}"
    );
    let result: Value = serde_json::from_slice(&folder.read("r/result.json")).unwrap();
    let of = |name: &str| result["test"][name].as_f64().unwrap_or_else(|| panic!("{name}: {result}"));
    assert!(of("price, net.r2") > 0.9 && of("rent.r2") > 0.8, "{result}");
    assert!(of("price, net.mae") > 100.0 && of("rent.mae") < 5.0, "{result}");
    assert!((of("r2") - (of("price, net.r2") + of("rent.r2")) / 2.0).abs() < 1e-9);
    let report = String::from_utf8(folder.read("r/report.html")).unwrap();
    assert!(report.contains("Predicted and true: rent") && report.contains("Residuals: price, net"));
    // What is predicted stands in a column each, and is what the evaluation counted.
    let predicted = folder.out(&["predict", "r/model.kiln", "homes.csv"]);
    let header = predicted.lines().next().unwrap();
    assert!(header.ends_with("built,\"predicted price, net\",predicted rent"), "{header}");
    let (mut sum, mut count) = (0.0, 0.0);
    for line in predicted.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if let Ok(rent) = cells[4].parse::<f64>() {
            sum += (rent - cells[cells.len() - 1].parse::<f64>().unwrap()).abs();
            count += 1.0;
        }
    }
    let eval = |model: &str| -> Value {
        serde_json::from_str(&folder.out(&["eval", model, "homes.csv", "--json"])).unwrap()
    };
    let told = eval("r/model.kiln");
    assert!((told["numbers"]["rent.mae"].as_f64().unwrap() - sum / count).abs() < 1e-4, "{told}");
    let json = folder.out(&["predict", "r/model.kiln", "homes.csv", "--json"]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["prediction"].as_array().map(Vec::len), Some(2), "{first}");
    assert!(folder.out(&["inspect", "r/model.kiln"]).contains("rent"));
    // Exported whole, and read back the same; gone on with; taught further.
    assert!(texts(&folder.run(&["export", "r/model.kiln", "m.onnx"])).0.contains("largest difference"));
    folder.out(&["train", "--resume", "r", "--quiet"]);
    assert_eq!(eval("r/model.kiln")["numbers"], told["numbers"]);
    let further = ["train", "homes.csv", "--from", "r/model.kiln", "--epochs", "1", "--quiet", "--out", "f"];
    folder.out(&further);
    for preset in ["realmlp", "mlp"] {
        let common = ["train", "homes.csv", "--target", "price, net,rent", "--epochs", "1", "--quiet"];
        let refused = folder.error(&common).1;
        assert!(refused.contains("there is no column \"price\"") || refused.contains("price"), "{refused}");
        folder.out(&[
            "train",
            "homes.csv",
            "--target",
            "rent,built",
            "--epochs",
            "1",
            "--quiet",
            "--preset",
            preset,
        ]);
    }
    assert!(folder.error(&["train", "homes.csv", "--target", "rent,9"]).1.contains("there is no column 9"));
    assert!(folder.error(&["train", "homes.csv", "--target", "rent,rent"]).1.contains("named twice"));
}
