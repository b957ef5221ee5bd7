//! Settings from flags and files, and back.

use std::time::Duration;

use super::*;

#[test]
fn flags_and_files_mean_the_same_and_come_back() {
    let flags = [
        "train",
        "x.csv",
        "--epochs",
        "3",
        "--lr",
        "1e-3",
        "--quiet",
        "--time-limit",
        "2m",
        "--layers",
        "dense 3, relu, dense",
    ];
    let matches = command(Command::new("train")).try_get_matches_from(flags).unwrap();
    let settings = Settings::from_flags(&matches).unwrap();
    let again = Settings::from_toml(&settings.to_toml()).unwrap();
    assert_eq!(settings.to_toml(), again.to_toml());
    assert_eq!(again.time_limit, Some(Seconds(Duration::from_secs(120))));
    assert_eq!((again.epochs, again.lr, again.quiet), (Some(Whole(3)), Some(Rate(1e-3)), Some(true)));
    let other = Settings::from_toml("epochs = 9\nseed = 4").unwrap();
    let both = settings.or(&other);
    assert_eq!((both.epochs, both.seed), (Some(Whole(3)), Some(Seed(4))));
}

#[test]
fn what_makes_no_sense_is_refused_with_line_and_mend() {
    let error = |text: &str| format!("{:#}", Settings::from_toml(text).unwrap_err());
    assert!(
        error("seed = 1\nepoch = 3")
            .contains("line 2: epoch is nothing that can be set; did you mean epochs?")
    );
    assert!(error("lr = -1").contains("above 0"));
    assert!(error("epochs = \"many\"").contains("whole number"));
    assert!(error("epochs 3").contains("line 1"));
    assert!(error("[epochs]\nx = 1").contains("table"));
    let bad = command(Command::new("train")).try_get_matches_from(["train", "--lr", "0"]);
    assert!(bad.unwrap_err().to_string().contains("0.01"));
}

#[test]
fn damaged_files_are_errors_and_nothing_worse() {
    let good = "data = \"größe.csv\"\nepochs = 3\nlr = 1e-3\nlayers = \"dense 3, relu\"\n[x]\n";
    let pieces =
        ["=", "\"", "\n", "é", "[[", "1e999", "-1", "{", "\\u0000", "nan", ".", "99999999999999999999"];
    let letters: Vec<char> = good.chars().collect();
    for case in 0..4000 {
        let mut rng = kiln_learn::data::Rng::new(5).derive(case);
        let mut text = letters.clone();
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(text.len() + 1);
            match rng.below(3) {
                0 => text.truncate(at),
                1 => drop(text.splice(at..at, pieces[rng.below(pieces.len())].chars())),
                _ => drop(text.drain(at..(at + rng.below(6)).min(text.len()))),
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(settings) = Settings::from_toml(&text) {
            Settings::from_toml(&settings.to_toml()).unwrap();
        }
    }
}

#[test]
fn what_a_setting_changes_are_parts_of_a_training() {
    for key in KEYS {
        let unknown = key.changes.iter().find(|part| !kiln_learn::trainer::PARTS.contains(part));
        assert_eq!(unknown, None, "{}", key.name);
    }
    let error = |allowed: &str| Settings::parts(&[allowed]).unwrap_err().to_string();
    assert_eq!(Settings::parts(&["lr", "schedule"]).unwrap(), ["rate", "schedule"]);
    assert!(error("epochs").contains("needn't be allowed"));
    assert!(error("shedule").contains("did you mean schedule?"));
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}
