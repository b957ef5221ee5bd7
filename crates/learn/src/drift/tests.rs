//! Drift held to made tables: what is shifted is named first, and where nothing is, nothing is named more often than the rate says.

use std::fmt::Write as _;

use kiln_data::{Choices, Dataset, Rng, TablePreparation};
use kiln_nn::Sequential;

use super::*;
use crate::model::{About, Task};

/// What of new rows differs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shift {
    None,
    Amount,
    Kind,
    Missing,
    Far,
    Unseen,
}

/// Rows of amounts, whole numbers, words and gaps; the target follows from two of them.
fn drawn(rows: usize, rng: &mut Rng, shift: Shift) -> Table {
    let mut text = "age,visits,town,smokes,weight,ward,street,note,ill\n".to_string();
    for row in 0..rows {
        let moved = if shift == Shift::Amount { 0.5 } else { 0.0 };
        let far = if shift == Shift::Far && row % 25 == 0 { 30.0 } else { 0.0 };
        let age = 50.0 + 12.0 * (rng.normal() + moved + far);
        let visits = rng.below(6);
        let towns = if shift == Shift::Kind {
            ["ulm", "ulm", "bonn", "kiel"]
        } else {
            ["ulm", "bonn", "kiel", "jena"]
        };
        let town = match shift == Shift::Unseen && row % 20 == 0 {
            true => "oslo",
            false => towns[rng.below(4)],
        };
        let smokes = ["no", "yes"][usize::from(rng.uniform() < 0.3)];
        let gap = if shift == Shift::Missing { 0.2 } else { 0.0 };
        let weight = if rng.uniform() < 0.05 + gap {
            String::new()
        } else {
            format!("{:.1}", 70.0 + 10.0 * rng.normal())
        };
        // Many of these words come once, and new rows have others.
        let ward = match rng.below(10) {
            0 => format!("w{}", rng.below(300)),
            at => format!("main {}", at % 3),
        };
        let street = match rng.below(4) {
            0 => "high street".to_string(),
            _ => format!("s{}", rng.below(180)),
        };
        let note = ["fine", "pain in the back", "tired and pale", "much pain"][rng.below(4)];
        let ill = if age + 10.0 * rng.normal() > 55.0 { "yes" } else { "no" };
        writeln!(text, "{age:.2},{visits},{town},{smokes},{weight},{ward},{street},{note} {row},{ill}")
            .unwrap();
    }
    Table::read(text.as_bytes()).unwrap()
}

fn trained(rng: &mut Rng) -> Model {
    let table = drawn(400, rng, Shift::None);
    let rows: Vec<usize> = (0..300).collect();
    let plan = TablePreparation::fit(&table, &rows, &Choices::new().target("ill")).unwrap();
    let train = plan.apply(&table, &rows).unwrap();
    let held = plan.apply(&table, &(300..400).collect::<Vec<_>>()).unwrap();
    let layers: Sequential = "dense 2".parse().unwrap();
    let task = Task::of_target(plan.target().unwrap());
    let about = About::new(&layers, &train.x(), task).unwrap();
    let mut model = Model::new(layers, about).with_preparation(plan.clone()).unwrap();
    assert!(NewRows::of(&model).err().unwrap().to_string().contains("train it again"));
    let profile = DataProfile::of(&model, &plan, &train, &held).unwrap();
    let written = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<DataProfile>(&written).unwrap(), profile);
    let mut wrong = model.about().clone();
    wrong.profile = Some(profile.clone());
    wrong.check().unwrap();
    wrong.profile.iter_mut().for_each(|profile| profile.columns[0].missing = u64::MAX);
    assert!(wrong.check().err().unwrap().to_string().contains("add up"));
    model.about_mut().profile = Some(profile);
    model
}

fn checked(model: &Model, new: &Table) -> Drift {
    let mut rows = NewRows::of(model).unwrap();
    rows.add(new).unwrap();
    rows.compared(0.05)
}

#[test]
fn what_was_shifted_is_named_first() {
    let mut rng = Rng::new(1);
    let model = trained(&mut rng);
    for (shift, column, what) in [
        (Shift::Amount, "age", "spread"),
        (Shift::Kind, "town", "spread"),
        (Shift::Missing, "weight", "missing"),
        (Shift::Far, "age", "range"),
        (Shift::Unseen, "town", "unseen"),
    ] {
        let drift = checked(&model, &drawn(400, &mut rng, shift));
        let first = &drift.columns[0];
        assert!(drift.drifted && first.drifted, "{shift:?}: {drift:?}");
        assert_eq!((first.column.as_str(), first.what), (column, what), "{shift:?}: {first:?}");
        assert_eq!(drift.columns.iter().filter(|column| column.drifted).count(), 1, "{shift:?}");
        match shift {
            Shift::Far => assert!(first.beyond[1] >= 16 && first.range.unwrap()[1] > 300.0),
            Shift::Unseen => assert_eq!(first.unseen, [("oslo".to_string(), 20)]),
            Shift::Missing => assert!(first.missing[1] > 0.15 && first.missing[0] < 0.1),
            Shift::Amount => {
                let [before, now] = first.median.unwrap();
                assert!((before - 50.0).abs() < 3.0 && (now - 56.0).abs() < 3.0, "{before} {now}");
                // The model sees ages.
                assert_eq!(drift.outputs.len(), 1);
            }
            Shift::Kind | Shift::None => {}
        }
    }
}

#[test]
fn tables_that_are_alike_raise_nothing_at_the_rate_that_was_asked() {
    const TABLES: usize = 300;
    let mut rng = Rng::new(2);
    let raised = (0..TABLES).filter(|at| {
        let model = trained(&mut rng);
        checked(&model, &drawn(60 + 3 * at, &mut rng, Shift::None)).drifted
    });
    // 15 are the mean, 3.8 the deviation.
    let raised = raised.count();
    assert!(raised <= 25, "{raised} of {TABLES}");
}

#[test]
fn parts_add_up_to_the_whole() {
    let mut rng = Rng::new(3);
    let model = trained(&mut rng);
    let new = drawn(200, &mut rng, Shift::Amount);
    let mut parts = NewRows::of(&model).unwrap();
    for part in 0..4 {
        let rows = part * 50..(part + 1) * 50;
        let columns = new.columns().iter().map(|column| {
            let cells: Vec<Option<String>> =
                rows.clone().map(|row| column.cell(row).text().map(|text| text.into_owned())).collect();
            match column.kind() {
                kiln_data::ColumnKind::Number => kiln_data::Column::numbers(
                    column.name(),
                    rows.clone().map(|row| column.cell(row).number().unwrap_or(f64::NAN)).collect(),
                ),
                _ => kiln_data::Column::words(column.name(), cells.iter().map(Option::as_deref)),
            }
        });
        parts.add(&Table::new(columns.collect()).unwrap()).unwrap();
    }
    assert_eq!(parts.compared(0.05), checked(&model, &new));
}
