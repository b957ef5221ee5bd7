//! Columns that need a thought: free text beside others, codes that are numbers; and flags for files that are written in their own way.

use serde_json::Value;

use super::kiln;

/// A table of reviews whose words tell the class, beside an amount and a number that is a code by what the target does.
fn reviews(rows: usize) -> String {
    let mut text = "stars,lot,review,kind\n".to_string();
    for row in 0..rows {
        let kind = row * 7 % 3;
        let own = ["sweet and mild", "sour like lemons", "salty as the sea"][kind];
        let more = ["today", "again", "once more", "for lunch"][row % 4];
        text += &format!("{},{},\"A taste {own}, number {row} {more}\",k{kind}\n", row % 5, 100 + row % 40);
    }
    text
}

#[test]
fn free_text_in_a_table_becomes_inputs_beside_its_other_columns() {
    let folder = kiln("free-text");
    folder.write("reviews.csv", reviews(240));
    let train = |more: &[&str], out: &str| {
        let flags = ["train", "reviews.csv", "--target", "kind", "--epochs", "20", "--quiet", "--out", out];
        folder.out(&[&flags[..], more].concat());
        let result = String::from_utf8(folder.read(&format!("{out}/result.json"))).unwrap();
        serde_json::from_str::<Value>(&result).unwrap()
    };
    let accuracy = |result: &Value| result["test"]["accuracy"].as_f64().unwrap();
    let with = train(&[], "with");
    assert!(accuracy(&with) > 0.95, "{with}");
    assert!(with["said"].to_string().contains("column review is free text"), "{with}");
    let without = train(&["--columns", "review: drop, lot: drop"], "without");
    assert!(accuracy(&without) < 0.7, "{without}");
    let new = "review,stars,lot\nIt is SOUR,1,105\nsalty!,2,106\n";
    folder.write("new.csv", new);
    let said = folder.out(&["predict", "with/model.kiln", "new.csv"]);
    let kinds: Vec<&str> = said.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    assert_eq!(kinds, ["k1", "k2"], "{said}");
    assert!(folder.out(&["export", "with/model.kiln", "m.onnx"]).contains("largest difference"));
    // All of it as --text reads it, and by way of a frame.
    let texts = train(&["--text", "review"], "texts");
    assert!(accuracy(&texts) > 0.9, "{texts}");
    let framed = train(&["--frame", "reviews.kdf"], "framed");
    assert!(framed["said"].to_string().contains("column review is free text"), "{framed}");
}

#[test]
fn numbers_that_behave_as_codes_count_as_words_unless_told_otherwise() {
    let folder = kiln("behaviour");
    let mut text = "shop,size,price\n".to_string();
    for row in 0..900usize {
        let (shop, size) = (row * 7919 % 1009 % 30, row * 4729 % 997 % 45);
        let own = (shop * 7919 % 101) as f64;
        text += &format!("{},{size},{:.2}\n", 400 + shop, own + size as f64 / 3.0 + (row % 7) as f64);
    }
    folder.write("prices.csv", &text);
    let train = |more: &[&str], out: &str| {
        let flags = ["train", "prices.csv", "--target", "price", "--epochs", "2", "--quiet", "--out", out];
        folder.out(&[&flags[..], more].concat());
        String::from_utf8(folder.read(&format!("{out}/result.json"))).unwrap()
    };
    let said = train(&[], "found");
    assert!(said.contains("column shop has whole numbers beside which the target differs"), "{said}");
    assert!(said.contains("embed-columns 31:") && !said.contains("column size has"), "{said}");
    let said = train(&["--columns", "shop: standardise"], "told");
    assert!(said.contains("2 columns become 2 numbers a row") && !said.contains("embed-columns"), "{said}");
    let framed = train(&["--frame", "prices.kdf"], "framed");
    assert!(framed.contains("column shop has whole numbers"), "{framed}");
}

#[test]
fn how_a_file_is_written_can_be_told_and_is_kept() {
    let folder = kiln("told");
    let rows: String =
        (0..60).map(|row| format!("{}~gr\u{f6}n {}~{}\n", row * 7 % 23, row % 3, row % 2)).collect();
    let latin = |text: &str| text.chars().map(|letter| u32::from(letter) as u8).collect::<Vec<u8>>();
    let text = format!("a~b~y\n{rows}");
    folder.write("odd.csv", latin(&text));
    let told = ["--delimiter", "~", "--encoding", "latin-1"];
    assert!(folder.out(&[&["inspect", "odd.csv"][..], &told].concat()).starts_with("60 rows, 3 columns"));
    let train = ["train", "odd.csv", "--target", "y", "--epochs", "1", "--quiet", "--out", "odd"];
    folder.out(&[&train[..], &told].concat());
    // One row of the new file says nothing of either.
    folder.write("new.csv", latin("a~b\n3~gr\u{f6}n 1\n"));
    let said = folder.out(&["predict", "odd/model.kiln", "new.csv"]);
    assert!(said.starts_with("a,b,prediction") && said.contains("3,gr\u{f6}n 1,"), "{said}");
    let (_, error) = folder.error(&["inspect", "odd.csv", "--encoding", "klingon"]);
    assert!(error.contains("klingon is no encoding that kiln knows"), "{error}");
    let (_, error) = folder.error(&["inspect", "odd.csv", "--delimiter", "ab"]);
    assert!(error.contains("--delimiter is one sign"), "{error}");
}
