//! Models from elsewhere in the command: raw data go in by what was told once, and they are taught other classes.

use kiln::data::{Form, Picture, Rng};
use kiln::model::{About, Model, Task};
use kiln::onnx::export::{Attribute, Size};
use kiln::onnx::proto::{Message, ModelProto};
use kiln::onnx::{Export, OnnxDType, Options};
use kiln::prelude::*;
use kiln_testkit::Program;
use serde_json::Value;

fn kiln(name: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_kiln"), name)
}

/// Pictures of bars in a folder for each class: upright, lying, and (of three classes) both.
fn bars(program: &Program, folder: &str, classes: &[&str], count: usize, seed: u64) {
    for (kind, class) in classes.iter().enumerate() {
        for number in 0..count {
            let mut rng = Rng::new(seed).derive((kind * count + number) as u64);
            let mut image = Picture::blank(16, 16);
            let (at, bright) = (2 + rng.below(12), 150 + rng.below(100) as u8);
            for along in 2..14 {
                if kind != 1 {
                    image.put(along, at, bright);
                }
                if kind != 0 {
                    image.put(at, along, bright);
                }
            }
            program.write(&format!("{folder}/{class}/{number}.png"), image.png().unwrap());
        }
    }
}

/// Layers as an ONNX file that says nothing but its graph, as another system would write it.
fn bare(program: &Program, name: &str, text: &str, row: &[usize]) -> Sequential {
    let layers: Sequential = text.parse().unwrap();
    let outputs = layers.build([&[1], row].concat()).unwrap();
    let names = (0..outputs[1]).map(|class| class.to_string()).collect();
    let about = About::new(&layers, &Form::numbers(row), Task::Classes { names }).unwrap();
    let model = Model::new(layers, about);
    model.save_onnx(program.at(name), &Export { preprocessing: false, ..Export::default() }).unwrap();
    // What only kiln writes.
    let mut message = ModelProto::decode(program.read(name)).unwrap();
    message.metadata_props.clear();
    program.write(name, message.encode_to_vec());
    model.into_layers()
}

/// A network of rows `[3, 4]` whose file declares this batch, and names it where it makes each row `sizes`.
fn fixed(program: &Program, name: &str, batch: usize, sizes: &[usize]) {
    let options = Options::default();
    let mut builder = options.builder("fixed").unwrap();
    let fixed = |sizes: &[usize]| sizes.iter().map(|&size| Size::Fixed(size)).collect::<Vec<_>>();
    let x = builder.input("x", OnnxDType::F32, &fixed(&[batch, 3, 4]));
    let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
    let shape = builder.ints(&sizes);
    // PyTorch's newer exporter says so of every one.
    let flat = builder.node("Reshape", &[&x, &shape], vec![("allowzero", Attribute::Int(1))]);
    let numbers = (0..24).map(|at| (at as f32).cos()).collect();
    let weight = builder.constant("weight", &[12, 2], &Data::F32(numbers));
    let y = builder.node("MatMul", &[&flat, &weight], Vec::new());
    builder.output(&y, "y", OnnxDType::F32, &fixed(&[batch, 2]));
    builder.save(program.at(name), &options).unwrap();
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / sum).collect()
}

#[test]
fn pixels_reach_a_network_as_they_were_told() {
    let program = kiln("pixels");
    let layers = bare(&program, "net.onnx", "flatten, dense 3", &[3, 4, 4]);
    let size = data::ImageSize { channels: 3, height: 4, width: 4 };
    let pixels: Vec<u8> = (0..48).map(|at| (at * 5) as u8).collect();
    program.write("a.png", data::encode_png(&pixels, size).unwrap());
    // What the network must see, worked out by hand for each way of telling.
    let (mean, deviation) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
    type Seen<'a> = &'a dyn Fn(f32, usize) -> f32;
    let ways: [(&[&str], Seen); 4] = [
        (&["--pixels", "imagenet"], &|pixel, channel| (pixel / 255.0 - mean[channel]) / deviation[channel]),
        (&["--pixels", "0..255"], &|pixel, _| pixel),
        (&["--pixels", "-1..1"], &|pixel, _| pixel / 127.5 - 1.0),
        (&["--pixels", "0..1", "--mean", "0.1,0.2,0.3", "--std", "0.5"], &|pixel, channel| {
            (pixel / 255.0 - 0.1 * (channel + 1) as f32) / 0.5
        }),
    ];
    for (told, seen) in ways {
        let flags = ["import", "net.onnx", "--out", "net.kiln", "--classes", "a,b,c"];
        program.out(&[&flags[..], told].concat());
        let x = pixels.iter().enumerate().map(|(at, pixel)| seen(f32::from(*pixel), at / 16)).collect();
        let x = Tensor::from_data(Data::F32(x), [1, 3, 4, 4]);
        let logits: Vec<f32> = layers.forward(&x, &Context::inference()).to_vec().unwrap();
        let said: Value =
            serde_json::from_str(&program.out(&["predict", "net.kiln", "a.png", "--json"])).unwrap();
        for (name, expected) in ["a", "b", "c"].iter().zip(softmax(&logits)) {
            let p = said["probabilities"][name].as_f64().unwrap();
            assert!((p - f64::from(expected)).abs() < 1e-4, "{told:?}: {name} {p} {expected}");
        }
    }
    let top = program.out(&["predict", "net.kiln", "a.png", "--top", "2"]);
    assert_eq!(top.matches('%').count(), 2, "{top}");
}

#[test]
fn columns_and_classes_are_named_once() {
    let program = kiln("columns");
    let layers = bare(&program, "net.onnx", "dense 3, softmax", &[2]);
    program.write("names.txt", "low\nmiddle\nhigh\n");
    let flags = ["import", "net.onnx", "--out", "net.kiln"];
    program.out(&[&flags[..], &["--classes", "names.txt", "--columns", "b,a", "--target", "kind"]].concat());
    program.write("rows.csv", "a,kind,b\n1,low,2\n-3,high,0.5\n");
    let said = program.out(&["predict", "net.kiln", "rows.csv"]);
    let x = Tensor::from([[2.0f32, 1.0], [0.5, -3.0]]);
    let expected: Vec<f32> = layers.forward(&x, &Context::inference()).to_vec().unwrap();
    for (line, expected) in said.lines().skip(1).zip(expected.chunks(3)) {
        let last: Vec<f32> = line.split(',').skip(4).map(|cell| cell.parse().unwrap()).collect();
        assert!(last.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{line} {expected:?}");
    }
    assert!(said.starts_with("a,kind,b,prediction,p(low),p(middle),p(high)"), "{said}");
    assert!(program.out(&["eval", "net.kiln", "rows.csv"]).contains("(2 rows)"));
    // Without names a table has just the columns.
    program.out(&flags);
    program.write("plain.csv", "2,1\n0.5,-3\n");
    assert!(program.out(&["predict", "net.kiln", "plain.csv"]).contains("p(2)"));
    assert!(program.error(&["predict", "net.kiln", "rows.csv"]).1.contains("rows of 2 numbers"));
    for file in ["net.onnx", "weights.pth"] {
        program.write("weights.pth", "no weights");
        assert!(program.error(&["predict", file, "rows.csv"]).1.contains("kiln import"), "{file}");
    }
    for (told, said) in [
        (&["--classes", "a,b"][..], "named for it: 2 classes"),
        (&["--columns", "a,b,c"], "named for it: 3 columns"),
        (&["--pixels", "0..1"], "images have four axes"),
        (&["--output", "z"], "no output is called z"),
        (&["--classes", "nothere.txt"], "no such file"),
        (&["--into", "net.kiln"], "a whole network"),
    ] {
        let (code, error) = program.error(&[&flags[..], told].concat());
        assert!(code == 1 && error.contains(said), "{told:?}: {error}");
    }
}

#[test]
fn a_batch_that_a_file_fixes_is_made_free_or_refused() {
    let program = kiln("fixed");
    for batch in [1, 3] {
        fixed(&program, "net.onnx", batch, &[batch, 12]);
        program.out(&["import", "net.onnx", "--out", "net.kiln"]);
        let model = Model::load(program.at("net.kiln")).unwrap();
        let x = Tensor::new((0..24).map(|at| at as f32).collect::<Vec<_>>(), [2, 3, 4]);
        let y: Vec<f32> = model.layers().forward(&x, &Context::inference()).to_vec().unwrap();
        for (at, y) in y.iter().enumerate() {
            let term = |k: usize| (12 * (at / 2) + k) as f32 * ((2 * k + at % 2) as f32).cos();
            let expected: f32 = (0..12).map(term).sum();
            assert!((y - expected).abs() < 1e-3, "{batch}: {y} {expected}");
        }
        program.out(&["export", "net.kiln", "free.onnx", "--without-preprocessing"]);
        program.out(&["import", "free.onnx", "--out", "again.kiln"]);
    }
    // The batch isn't the first axis there.
    for (batch, sizes) in [(2, &[1, 2, 12][..]), (1, &[12])] {
        fixed(&program, "net.onnx", batch, sizes);
        let (code, error) = program.error(&["import", "net.onnx", "--out", "net.kiln"]);
        let said = format!("fixes its batch at {batch}");
        assert!(code == 1 && error.contains(&said) && error.contains("dynamic_axes"), "{error}");
        assert!(error.contains("Reshape (Reshape)") && !error.contains(".rs"), "{error}");
    }
}

/// A network of codes and numbers of these sizes; the file leaves those free that are none.
fn of_two(program: &Program, name: &str, sizes: [Option<usize>; 2]) {
    let options = Options::default();
    let mut builder = options.builder("two").unwrap();
    let free = ["batch", "length"].map(|name| Size::Named(name.to_string()));
    let sizes: Vec<Size> =
        std::iter::zip(sizes, free).map(|(size, free)| size.map_or(free, Size::Fixed)).collect();
    let codes = builder.input("codes", OnnxDType::I64, &sizes);
    let amounts = builder.input("amounts", OnnxDType::F32, &sizes);
    let table = builder.constant("table", &[2], &Data::F32(vec![1.0, 2.0]));
    let looked_up = builder.node("Gather", &[&table, &codes], Vec::new());
    let y = builder.node("Mul", &[&looked_up, &amounts], Vec::new());
    builder.output(&y, "y", OnnxDType::F32, &sizes);
    builder.save(program.at(name), &options).unwrap();
}

#[test]
fn any_model_or_network_is_timed_batch_by_batch() {
    let program = kiln("timed");
    let timed = |arguments: &[&str]| -> Vec<Value> {
        let text = program.out(&[&["bench"], arguments, &["--json", "--threads", "1"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    fixed(&program, "fixed.onnx", 3, &[3, 12]);
    of_two(&program, "two.onnx", [None; 2]);
    of_two(&program, "small.onnx", [Some(2), Some(5)]);
    bare(&program, "bare.onnx", "flatten, dense 3", &[2, 2]);
    program.out(&["import", "bare.onnx", "--out", "named.kiln", "--classes", "a,b,c"]);
    // With the classes' names as an output, which is no number.
    program.out(&["export", "named.kiln", "named.onnx", "--without-preprocessing"]);
    let lengths = ["--shape", "codes=*,5", "--shape", "amounts=*,5"];
    for (file, told) in
        [("fixed.onnx", &[][..]), ("two.onnx", &lengths[..]), ("named.kiln", &[]), ("named.onnx", &[])]
    {
        let lines = timed(&[&[file, "--batch", "1,4", "--kernels", "2"], told].concat());
        assert_eq!(lines.len(), 2, "{file}");
        for (line, batch) in lines.iter().zip([1.0, 4.0]) {
            assert_eq!(line["batch"], batch as u64, "{file}");
            let [seconds, best, rate] = ["seconds", "best", "rate"].map(|key| line[key].as_f64().unwrap());
            assert!(0.0 < best && best <= seconds && (rate * seconds / batch - 1.0).abs() < 1e-9, "{line}");
            let kernels = line["kernels"].as_array().unwrap();
            let times: Vec<f64> = kernels.iter().map(|kernel| kernel["seconds"].as_f64().unwrap()).collect();
            assert!((1..=2).contains(&times.len()) && times.is_sorted_by(|a, b| a >= b), "{line}");
        }
    }
    let text = program.out(&["bench", "fixed.onnx", "--batch", "3", "--kernels", "1"]);
    assert!(text.contains("batch of 3") && text.contains("rows/s") && text.contains("matmul"), "{text}");
    for (arguments, said) in [
        (&["two.onnx"][..], "two.onnx leaves sizes of codes free: say --shape 'codes=*,N'"),
        (&["two.onnx", "--shape", "code=*,5"], "two.onnx takes codes, amounts"),
        (&["two.onnx", "--shape", "codes=*,5", "--shape", "amounts=*,6"], "Mul"),
        (&["small.onnx"], "small.onnx: no input takes a batch of 1; say --batch 2"),
        (
            &["two.onnx", "--batch", "3", "--shape", "codes=4,5", "--shape", "amounts=4,5"],
            "no input takes a batch of 3",
        ),
        (&["named.kiln", "--shape", "x=*,5"], "--shape is for ONNX files"),
        (&["nothing.kiln"], "nothing.kiln"),
    ] {
        let (code, error) = program.error(&[&["bench"], arguments].concat());
        assert!(code == 1 && error.contains(said), "{error}");
    }
}

#[test]
fn a_file_of_kilns_own_becomes_the_same_model_without_a_word() {
    let program = kiln("own");
    bars(&program, "bars", &["upright", "lying"], 30, 1);
    program.out(&["train", "bars", "--epochs", "4", "--quiet", "--out", "images"]);
    let rows = (0..60).map(|row| format!("{},{},{}\n", row % 7, ["x", "y"][row % 2], ["no", "yes"][row % 2]));
    program.write("table.csv", "number,word,answer\n".to_string() + &rows.collect::<String>());
    program.out(&["train", "table.csv", "--epochs", "4", "--quiet", "--out", "table"]);
    program.write("rhyme.txt", "the cat sat on the mat. ".repeat(60));
    program.out(&[
        "train",
        "rhyme.txt",
        "--window",
        "16",
        "--preset",
        "gru",
        "--epochs",
        "1",
        "--quiet",
        "--out",
        "text",
    ]);
    for (run, flag, asked) in [
        ("images", None, &["bars/upright/1.png", "bars/lying/2.png", "--json"][..]),
        ("images", Some("--without-preprocessing"), &["bars/upright/1.png", "--json"]),
        ("table", Some("--without-preprocessing"), &["table.csv"]),
        ("text", None, &["--prompt", "the c", "--length", "20", "--temperature", "0"]),
    ] {
        let model = format!("{run}/model.kiln");
        let export: Vec<&str> = ["export", &model, "out.onnx"].into_iter().chain(flag).collect();
        program.out(&export);
        program.out(&["import", "out.onnx", "--out", "back.kiln"]);
        let [own, back] =
            [model.as_str(), "back.kiln"].map(|model| program.out(&[&["predict", model], asked].concat()));
        if run == "images" {
            // Pixels were scaled elsewhere: the last digits may differ.
            let sure = |text: &str| -> Vec<(Value, f64)> {
                let one = |line| -> Value { serde_json::from_str(line).unwrap() };
                let p = |line: Value| {
                    (line["prediction"].clone(), line["probabilities"]["lying"].as_f64().unwrap())
                };
                text.lines().map(one).map(p).collect()
            };
            for (own, back) in sure(&own).into_iter().zip(sure(&back)) {
                assert!(own.0 == back.0 && (own.1 - back.1).abs() < 1e-5, "{own:?} {back:?}");
            }
        } else {
            assert_eq!(own, back, "{run}");
        }
    }
    program.out(&["export", "table/model.kiln", "whole.onnx"]);
    let (_, error) = program.error(&["import", "whole.onnx", "--out", "whole.kiln"]);
    assert!(error.contains("number, word") && error.contains("--without-preprocessing"), "{error}");
    assert!(
        program.error(&["import", "out.onnx", "--out", "x.kiln", "--columns", "a"]).1.contains("kiln's own")
    );
}

/// The numbers of a model's parameters whose paths begin so, as bytes.
fn weights(program: &Program, model: &str, start: &str) -> Vec<(String, Vec<u8>)> {
    let model = Model::load(program.at(model)).unwrap();
    let own = model.parameters().into_iter().filter(|(path, _)| path.starts_with(start));
    own.map(|(path, param)| (path, param.value().unwrap().to_le_bytes())).collect()
}

fn accuracy(program: &Program, model: &str, data: &str) -> f64 {
    let said: Value = serde_json::from_str(&program.out(&["eval", model, data, "--json"])).unwrap();
    said["numbers"]["accuracy"].as_f64().unwrap()
}

#[test]
fn a_trained_network_learns_other_classes_with_frozen_features() {
    let program = kiln("tuned");
    bars(&program, "old", &["upright", "lying"], 60, 1);
    bars(&program, "new", &["pole", "floor", "cross"], 60, 2);
    let layers = "conv 8 3, batch-norm, relu, pool 2, flatten, dense 16, relu, dense";
    program.out(&[
        "train",
        "old",
        "--layers",
        layers,
        "--epochs",
        "10",
        "--batch-size",
        "8",
        "--quiet",
        "--out",
        "first",
    ]);
    // Once by way of ONNX, once as it is.
    program.out(&["export", "first/model.kiln", "net.onnx"]);
    program.out(&["import", "net.onnx", "--out", "net.kiln"]);
    for (model, head, out) in [("net.kiln", "7.", "a"), ("first/model.kiln", "7.", "b")] {
        let flags = ["train", "new", "--from", model, "--head", "--freeze", "0.*, 1.*", "--epochs", "12"];
        program.out(&[&flags[..], &["--batch-size", "8", "--lr", "0.004", "--quiet", "--out", out]].concat());
        let tuned = format!("{out}/model.kiln");
        for frozen in ["0.", "1."] {
            let (before, after) = (weights(&program, model, frozen), weights(&program, &tuned, frozen));
            assert!(!before.is_empty() && before == after, "{model}: {frozen} changed");
        }
        assert_ne!(weights(&program, model, "5."), weights(&program, &tuned, "5."), "{model}");
        assert!(weights(&program, &tuned, head)[0].1.len() != weights(&program, model, head)[0].1.len());
        // Statistics of a norm that is frozen stay too.
        let state = |path: &str| {
            let model = Model::load(program.at(path)).unwrap();
            model.layers().states().into_iter().map(|(_, state)| state.read().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(state(model), state(&tuned), "{model}");
        let reached = accuracy(&program, &tuned, "new");
        assert!(reached > 0.8, "{model}: {reached}");
        // Its head alone, for one step: barely better than chance, so that it was the training that did it.
        let barely =
            ["train", "new", "--from", model, "--head", "--freeze", "*", "--epochs", "0", "--quiet", "--out"];
        let start = format!("{out}0");
        program.out(&[&barely[..], &[&start]].concat());
        assert!(accuracy(&program, &format!("{start}/model.kiln"), "new") < reached, "{model}");
    }
    // Layers near the input learn more slowly, and later: after one epoch only the last one has changed.
    let by_depth =
        ["train", "new", "--from", "net.kiln", "--head", "--layer-decay", "0.5", "--unfreeze-every", "1"];
    for (epochs, stays) in [("1", true), ("8", false)] {
        let (out, tuned) = (format!("depth{epochs}"), format!("depth{epochs}/model.kiln"));
        program.out(&[&by_depth[..], &["--epochs", epochs, "--quiet", "--out", &out]].concat());
        assert_eq!(weights(&program, "net.kiln", "0.") == weights(&program, &tuned, "0."), stays, "{epochs}");
    }
    // A model whose classes are the data's goes on without a new head.
    bars(&program, "more", &["pole", "floor", "cross"], 20, 3);
    let before = accuracy(&program, "a/model.kiln", "more");
    program.out(&["train", "more", "--from", "a/model.kiln", "--epochs", "6", "--quiet", "--out", "c"]);
    assert!(accuracy(&program, "c/model.kiln", "more") >= before - 0.05);
    program.out(&["export", "c/model.kiln", "c.onnx"]);
    for (flags, said) in [
        (&["train", "new", "--from", "net.kiln"][..], "--head"),
        (
            &["train", "new", "--from", "net.kiln", "--head", "--freeze", "9.*"],
            "no parameter's path matches 9.*",
        ),
        (&["train", "new", "--from", "net.kiln", "--head", "--layers", "dense"], "leave it out"),
        (&["train", "new", "--from", "net.kiln", "--head", "--image-size", "8"], "leave it out"),
        (&["train", "new", "--head"], "--from MODEL"),
        (&["train", "--from", "net.kiln", "--head"], "[1, 28, 28]"),
        (&["train", "more", "--from", "a/model.kiln", "--freeze", "*"], "nothing is left to train"),
    ] {
        let (code, error) = program.error(flags);
        assert!(code == 1 && error.contains(said), "{flags:?}: {error}");
    }
}

#[test]
fn a_fine_tuning_is_repeated_and_goes_on_bit_for_bit() {
    let program = kiln("again");
    bars(&program, "old", &["upright", "lying"], 30, 1);
    bars(&program, "new", &["pole", "floor", "cross"], 30, 2);
    program.out(&["train", "old", "--preset", "mlp", "--epochs", "2", "--quiet", "--out", "first"]);
    program.out(&["export", "first/model.kiln", "net.onnx"]);
    program.out(&["import", "net.onnx", "--out", "net.kiln"]);
    let flags = ["train", "new", "--from", "net.kiln", "--head", "--freeze", "1.*", "--epochs", "6"];
    program.out(&[&flags[..], &["--quiet", "--out", "whole"]].concat());
    let config = program.out(&[&flags[..], &["--print-config"]].concat());
    program.write("again.toml", &config);
    program.out(&["train", "again.toml", "--quiet", "--out", "again"]);
    assert_eq!(program.read("whole/model.kiln"), program.read("again/model.kiln"));
    // Cut after a step in the middle, by a limit of time that is over at once, and gone on with.
    program.out(
        &[
            &flags[..],
            &["--quiet", "--out", "cut", "--time-limit", "0.001s", "--checkpoint-every", "1 steps"],
        ]
        .concat(),
    );
    program.out(&["train", "--resume", "cut", "--time-limit", "1h", "--quiet"]);
    assert_eq!(program.read("whole/model.kiln"), program.read("cut/model.kiln"));
}

#[test]
fn a_table_goes_on_by_the_preparation_of_its_model() {
    let program = kiln("table");
    let rows = |from: usize, classes: [&str; 2]| -> String {
        let row = |row: usize| {
            format!("{},{},{}\n", row % 10, ["x", "y"][row % 2], classes[usize::from(row % 10 > 4)])
        };
        "number,word,answer\n".to_string() + &(from..from + 200).map(row).collect::<String>()
    };
    program.write("old.csv", rows(0, ["no", "yes"]));
    program.write("new.csv", rows(100, ["small", "large"]));
    program.out(&["train", "old.csv", "--epochs", "20", "--quiet", "--out", "first"]);
    let flags = ["train", "new.csv", "--from", "first/model.kiln", "--quiet", "--epochs", "30", "--out"];
    assert!(program.error(&[&flags[..], &["x"]].concat()).1.contains("--head"));
    program.out(&[&flags[..], &["tuned", "--head", "--lr", "0.01"]].concat());
    assert!(accuracy(&program, "tuned/model.kiln", "new.csv") > 0.9);
    let plan = |model: &str| {
        Model::load(program.at(model)).unwrap().about().preparation.table().unwrap().features().to_vec()
    };
    assert_eq!(plan("tuned/model.kiln"), plan("first/model.kiln"));
}
