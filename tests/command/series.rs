//! Series: what a table of them shows.

use serde_json::Value;

use super::kiln;

/// Two shops over eight weeks, each day a row, with a gap, a row that comes twice and prices that are known ahead.
fn sales() -> String {
    let mut text = "day,shop,sold,price\n".to_string();
    for day in 0..56 {
        let date = format!("2024-{:02}-{:02}", 1 + day / 31, 1 + day % 31);
        for (shop, base) in [("north", 20), ("south", 50)] {
            if (day, shop) != (10, "north") {
                text += &format!("{date},{shop},{},{}\n", base + day % 7 * 4 + day * day % 3, 9 + day % 2);
            }
        }
    }
    text + "2024-02-25,north,50,9\n2024-02-26,north,,9\n"
}

#[test]
fn a_table_of_series_shows_its_frequency_gaps_and_seasons() {
    let folder = kiln("series");
    folder.write("sales.csv", sales());
    let shown = folder.out(&["inspect", "sales.csv"]);
    for line in [
        "sold over day, by shop",
        "frequency   daily, 2024-01-01 to 2024-02-25",
        "series      2, ",
        "gaps        1 step without a value, in 1 of 2 series",
        "duplicates  1 row of a time that their series has already",
        "future      1 row behind the last value of their series",
        "seasons     7 days (strength",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let shown: Value = serde_json::from_str(&folder.out(&["inspect", "sales.csv", "--json"])).unwrap();
    assert_eq!((&shown["rows"], &shown["columns"][1]["kind"]), (&Value::from(113), &Value::from("category")));
    let series = &shown["series"];
    assert_eq!((&series["time"], &series["by"][0]), (&Value::from("day"), &Value::from("shop")));
    assert_eq!(series["summary"]["seasons"][0]["period"], 7);
    assert_eq!(series["summary"]["findings"]["duplicates"], 1);
    let weekly = ["inspect", "sales.csv", "--time", "day", "--target", "price", "--frequency", "weekly"];
    assert!(folder.out(&weekly).contains("price over day, by shop\nfrequency   weekly (Monday), 2024-01-01"));
}

#[test]
fn a_table_of_no_series_says_nothing_of_them_and_what_is_told_wrongly_is_an_error() {
    let folder = kiln("no-series");
    folder.write("sales.csv", sales());
    folder.write("plain.csv", super::flowers(30));
    assert!(!folder.out(&["inspect", "plain.csv"]).contains("frequency"));
    assert!(folder.out(&["inspect", "plain.csv", "--json"]).contains("\"series\": null"));
    let error = |flags: &[&str]| folder.error(&[&["inspect"], flags].concat()).1;
    assert!(error(&["plain.csv", "--series", "colour"]).contains("--time"));
    assert!(error(&["sales.csv", "--time", "dya"]).contains("did you mean \"day\"?"));
    assert!(error(&["sales.csv", "--time", "shop"]).contains("must be a date or a number"));
    assert!(error(&["sales.csv", "--target", "shop"]).contains("finite number"));
    assert!(error(&["sales.csv", "--frequency", "fortnightly"]).contains("a frequency is hourly"));
    folder.write("text.txt", "some words");
    assert!(error(&["text.txt", "--json"]).contains("are for tables"));
}
