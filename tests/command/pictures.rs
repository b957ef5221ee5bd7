//! Photos: varied a little by themselves, seen several times where that is asked for; and runs beside each other.

use kiln_testkit::Program;
use kiln_testkit::folder::texts;
use serde_json::Value;

use super::zip::zip;
use super::{flowers, kiln};

/// A folder of pictures in two colours, in files of different sizes.
fn photos(name: &str) -> Program {
    let folder = kiln(name);
    for (class, colour) in [("red", [220u8, 30, 40]), ("blue", [20, 60, 210])] {
        for number in 0..30usize {
            let (width, height) = (24 + number % 5, 18);
            let mut picture = format!("P6 {width} {height} 255\n").into_bytes();
            for at in 0..width * height {
                let shade = (at * 31 + number * 17) % 40;
                picture.extend(colour.map(|part| part.saturating_sub(shade as u8)));
            }
            folder.write(&format!("photos/{class}/{number}.ppm"), picture);
        }
    }
    folder
}

#[test]
fn photos_are_varied_a_little_unless_told_otherwise() {
    let folder = photos("photos");
    let train = ["train", "photos", "--epochs", "3", "--layers", "flatten, dense 8, relu, dense"];
    let said = |more: &[&str], name: &str| {
        let output = folder.run(&[&train[..], more, &["--out", name]].concat());
        assert!(output.status.success(), "{}", texts(&output).1);
        texts(&output).1
    };
    let light = said(&[], "light");
    assert!(
        light.contains("varied: flip, shift 1, colour 0.1 (--augment says otherwise, or none)"),
        "{light}"
    );
    assert!(light.contains("used as 26 × 18 in colour"), "{light}");
    assert!(!said(&["--augment", "none"], "none").contains("varied"));
    assert!(said(&["--augment", "random 2 9"], "random").contains("varied: random 2 9"));
    let (_, error) = folder.error(&[&train[..], &["--augment", "random 2"]].concat());
    assert!(error.contains("random 2 9"), "{error}");
}

#[test]
fn a_picture_is_seen_several_times_where_that_is_asked_for() {
    let folder = photos("views");
    let train = ["train", "photos", "--epochs", "6", "--layers", "flatten, dense 8, relu, dense"];
    folder.out(&[&train[..], &["--quiet", "--out", "r"]].concat());
    let model = "r/model.kiln";
    let accuracy = |views: &[&str]| {
        let said = folder.out(&[&["eval", model, "photos", "--json"], views].concat());
        serde_json::from_str::<Value>(&said).unwrap()["numbers"]["accuracy"].as_f64().unwrap()
    };
    assert!(accuracy(&[]) > 0.95 && accuracy(&["--views", "4"]) > 0.95);
    let predict =
        |views: &[&str]| folder.out(&[&["predict", model, "photos/red/1.ppm", "--json"], views].concat());
    assert_eq!(predict(&["--views", "1"]).len(), predict(&[]).len());
    assert_ne!(predict(&["--views", "5"]), predict(&[]));
    assert_eq!(predict(&["--views", "5"]), predict(&["--views", "5"]));
    // A view is the same whatever else is looked at.
    let all = folder.out(&["predict", model, "photos", "--json", "--views", "5"]);
    let line = |text: &str| {
        let line = text.lines().find(|line| line.contains("red/1.ppm")).unwrap().to_string();
        serde_json::from_str::<Value>(&line).unwrap()["probabilities"].clone()
    };
    assert_eq!(line(&all), line(&predict(&["--views", "5"])));
    assert!(folder.error(&["predict", model, "photos", "--views", "0"]).1.contains("0 views"));
    folder.write("flowers.csv", flowers(60));
    folder.out(&["train", "flowers.csv", "--target", "kind", "--quiet", "--epochs", "1", "--out", "t"]);
    let (_, error) = folder.error(&["predict", "t/model.kiln", "flowers.csv", "--views", "3"]);
    assert!(error.contains("model of images"), "{error}");
}

#[test]
fn runs_stand_beside_each_other_with_what_differs() {
    let folder = kiln("compared");
    folder.write("flowers.csv", flowers(90));
    for (name, rate) in [("a", "0.01"), ("b", "0.002")] {
        let out = format!("runs/{name}");
        let train = ["train", "flowers.csv", "--target", "kind", "--epochs", "2", "--quiet", "--out", &out];
        folder.out(&[&train[..], &["--lr", rate]].concat());
    }
    let said = folder.out(&["runs", "--html", "runs.html"]);
    let head: Vec<&str> = said.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head[head.len() - 1], "lr", "{said}");
    assert!(said.contains("0.002") && !said.contains("0.0020") && said.contains("0.01"), "{said}");
    let page = String::from_utf8(folder.read("runs.html")).unwrap();
    assert!(page.contains(">a</text>") && page.contains(">b</text>") && page.contains("val_loss"), "{page}");
    let json: Vec<Value> =
        folder.out(&["runs", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json[1]["settings"], serde_json::json!({ "lr": 0.002 }));
}

#[test]
fn a_folder_of_broken_pictures_names_the_first() {
    let folder = super::kiln("broken-pictures");
    for class in ["a", "b"] {
        std::fs::create_dir_all(folder.at(&format!("photos/{class}"))).unwrap();
        folder.write(&format!("photos/{class}/x.gif"), "GIF89a");
    }
    let said = folder.error(&["train", "photos", "--quiet"]).1;
    assert!(said.contains("x.gif"), "{said}");
    folder.write("t.csv", "a,b\n1,2\n2,3\n");
    let said = folder.error(&["train", "t.csv", "--target", "9"]).1;
    assert!(said.contains("numbered from 1 to 2"), "{said}");
}

#[test]
fn an_archive_of_photos_is_what_its_folder_is_and_is_never_unpacked() {
    let folder = photos("archive");
    let mut entries = Vec::new();
    for class in ["blue", "red"] {
        for number in 0..30 {
            let name = format!("photos/{class}/{number}.ppm");
            entries.push((name.clone(), folder.read(&name)));
        }
    }
    let broken = b"P6 no picture".to_vec();
    for (name, content) in [
        ("photos/red/broken.png", broken.clone()),
        ("photos/notes.txt", b"taken in May".to_vec()),
        ("__MACOSX/photos/red/._1.ppm", broken.clone()),
        ("../evil.png", broken.clone()),
        ("/etc/evil.png", broken),
    ] {
        entries.push((name.to_string(), content));
    }
    let named: Vec<(&str, Vec<u8>)> =
        entries.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    folder.write("all.zip", zip(&named));
    let train = |data: &str, out: &str| {
        let flags = ["--epochs", "4", "--layers", "flatten, dense 8, relu, dense", "--out", out];
        let output = folder.run(&[&["train", data], &flags[..]].concat());
        assert!(output.status.success(), "{}", texts(&output).1);
        let result = folder.read(&format!("{out}/result.json"));
        (serde_json::from_slice::<Value>(&result).unwrap(), texts(&output).1)
    };
    let (of_folder, _) = train("photos", "f");
    let (of_archive, said) = train("all.zip", "a");
    assert_eq!(of_archive["test"], of_folder["test"]);
    for part in [
        "60 images of 2 classes (blue, red)",
        "1 file is left out, because they can't be read",
        "all.zip/photos/red/broken.png",
        "2 with a name that leads out of the archive",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let answers = |input: &str| -> Vec<Value> {
        let output = folder.run(&["predict", "f/model.kiln", input, "--json"]);
        texts(&output)
            .0
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["probabilities"].clone())
            .collect()
    };
    let wanted = answers("photos");
    assert_eq!((answers("all.zip"), wanted.len()), (wanted, 60));
    let output = folder.run(&["predict", "f/model.kiln", "all.zip"]);
    let (out, errors) = texts(&output);
    assert!(output.status.code() == Some(1) && errors.contains("broken.png"), "{errors}");
    assert!(out.contains("all.zip/photos/blue/0.ppm  blue"), "{out}");
    let figures = |data: &str| -> Value {
        serde_json::from_str::<Value>(&folder.out(&["eval", "f/model.kiln", data, "--json"])).unwrap()["numbers"].clone()
    };
    assert_eq!(figures("all.zip"), figures("photos"));
    assert!(folder.out(&["inspect", "all.zip"]).starts_with("60 images"));
    // Archives of something else are what they were.
    folder.write("none.zip", zip(&[("a/x.txt", b"a,b\n1,2\n2,1\n".to_vec())]));
    assert!(folder.out(&["inspect", "none.zip"]).starts_with("2 rows"));
    assert!(
        folder.error(&["predict", "f/model.kiln", "none.zip"]).1.contains("a zip archive, and no picture")
    );
    folder.write("one.zip", zip(&[("cats/1.ppm", folder.read("photos/red/1.ppm"))]));
    assert!(folder.error(&["train", "one.zip"]).1.contains("only cats has pictures"));
    let refused = folder.error(&["train", "all.zip", "--target", "kind"]).1;
    assert!(refused.contains("--target changes nothing for an archive of images"), "{refused}");
    let left = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("evil")));
}
