//! Pairs of texts through the command: what is written when another text was read.

use kiln_testkit::Program;
use serde_json::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Dates in words and as numbers, every one once, in an order that mixes them.
fn dates(count: usize) -> String {
    let mut text = "written\tiso\n".to_string();
    for at in 0..count {
        let (day, month, year) = (at * 11 % 28 + 1, (at * 7 + at / 28) % 12, 1990 + (at * 13 + at / 84) % 40);
        text += &format!("{day} {} {year}\t{year}-{:02}-{day:02}\n", MONTHS[month], month + 1);
    }
    text
}

#[test]
fn dates_in_words_are_written_as_numbers() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "pairs");
    program.write("dates.tsv", dates(1600));
    let train = ["train", "dates.tsv", "--pairs", "--text", "written", "--target", "iso", "--out", "run"];
    program.out(&[&train[..], &["--epochs", "10", "--early-stop", "0", "--seed", "3"]].concat());
    let result: Value = serde_json::from_slice(&program.read("run/result.json")).unwrap();
    let said = result["said"].to_string();
    assert!(said.contains("1600 pairs of texts: written is read, iso is written"), "{said}");
    assert!(result["test"]["exact match"].as_f64().unwrap() > 0.9, "{}", result["test"]);

    let model = "run/model.kiln";
    let prompt = ["predict", model, "--text", "3 May 2021"];
    assert_eq!(program.out(&prompt), "2021-05-03\n");
    assert_eq!(program.out(&[&prompt[..], &["--beams", "3"]].concat()), "2021-05-03\n");
    program.write("new.tsv", "number\twritten\n1\t3 May 2021\n2\t17 December 1999\n");
    let table = program.out(&["predict", model, "new.tsv"]);
    assert_eq!(
        table,
        "number,written,predicted iso\n1,3 May 2021,2021-05-03\n2,17 December 1999,1999-12-17\n"
    );
    program.write("new.txt", "17 December 1999\n3 May 2021\n");
    assert_eq!(program.out(&["predict", model, "new.txt"]), "1999-12-17\n2021-05-03\n");
    let json: Value = serde_json::from_str(&program.out(&[&prompt[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["target"], "2021-05-03");

    // What is said of how many are exact is what greedy writing gives.
    program.write(
        "held.tsv",
        dates(1800)
            .lines()
            .take(1)
            .chain(dates(1800).lines().skip(1701))
            .map(|line| line.to_string() + "\n")
            .collect::<String>(),
    );
    let numbers: Value = serde_json::from_str(&program.out(&["eval", model, "held.tsv", "--json"])).unwrap();
    let exact = numbers["numbers"]["exact match"].as_f64().unwrap();
    let written = program.out(&["predict", model, "held.tsv"]);
    let same = written.lines().skip(1).filter(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        cells[1] == cells[2]
    });
    let share = same.count() as f64 / (written.lines().count() - 1) as f64;
    assert!((share - exact).abs() < 1e-9, "{share} and {exact}");
    assert!(program.out(&["inspect", model]).contains("what comes next"));
}

#[test]
fn what_pairs_need_is_said() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "pairs-wrong");
    program.write("dates.tsv", dates(40));
    let refused = |arguments: &[&str]| {
        let output = program.run(&[&["train", "dates.tsv", "--pairs", "--epochs", "1"], arguments].concat());
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["--text", "written"]).contains("--target, the column that is written"));
    assert!(refused(&["--text", "writen", "--target", "iso"]).contains("writen"));
    let short = refused(&["--text", "written", "--target", "iso", "--window", "4"]);
    assert!(short.contains("--window sees more"), "{short}");
    let other = refused(&["--text", "written", "--target", "iso", "--preset", "words"]);
    assert!(other.contains("words is for texts with classes, and the data are pairs of texts"), "{other}");
}

#[test]
fn a_run_of_pairs_goes_on_to_the_same_bits() {
    let program = Program::new(env!("CARGO_BIN_EXE_kiln"), "pairs-resume");
    program.write("dates.tsv", dates(120));
    let columns = ["--pairs", "--text", "written", "--target", "iso", "--preset", "gru"];
    let common = [&["train", "dates.tsv"], &columns[..], &["--schedule", "constant", "--quiet"]].concat();
    program.out(&[&common[..], &["--epochs", "1", "--out", "a"]].concat());
    program.out(&["train", "--resume", "a", "--epochs", "3", "--quiet"]);
    program.out(&[&common[..], &["--epochs", "3", "--out", "b"]].concat());
    let weights = |name: &str| {
        program.out(&["export", &format!("{name}/model.kiln"), &format!("{name}.npz")]);
        program.read(&format!("{name}.npz"))
    };
    assert!(weights("a") == weights("b"));
}
