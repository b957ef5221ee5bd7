//! Preparations: what is fitted, on which rows, and what is said where a table doesn't fit.

use super::*;
use crate::dataset::Dataset;
use crate::values::Values;

fn read(text: &str) -> Table {
    Table::read(text.as_bytes()).unwrap()
}

fn fit(text: &str, choices: &Choices) -> Result<TablePreparation> {
    let table = read(text);
    TablePreparation::fit(&table, &Vec::from_iter(0..table.len()), choices)
}

fn inputs(plan: &TablePreparation, text: &str) -> Vec<f32> {
    plan.apply_inputs(&read(text)).unwrap().values
}

fn close(values: &[f32], wanted: &[f32]) {
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(
        values.len() == wanted.len() && values.iter().zip(wanted).all(near),
        "{values:?} is not {wanted:?}"
    );
}

#[test]
fn numbers_are_scaled_each_way() {
    let text = "a\n1\n2\n3\n10\n";
    let way = |treatment| inputs(&fit(text, &Choices::new().numbers(treatment)).unwrap(), text);
    let deviation = 12.5f32.sqrt();
    close(
        &way(Treatment::Standardise),
        &[-3.0 / deviation, -2.0 / deviation, -1.0 / deviation, 6.0 / deviation],
    );
    close(&way(Treatment::MinMax), &[0.0, 1.0 / 9.0, 2.0 / 9.0, 1.0]);
    close(&way(Treatment::Robust), &[-0.5, -1.0 / 6.0, 1.0 / 6.0, 7.5 / 3.0]);
    let clipped = |x: f32| x / (1.0 + (x / 3.0).powi(2)).sqrt();
    close(&way(Treatment::SmoothClip), &[-0.5, -1.0 / 6.0, 1.0 / 6.0, 7.5 / 3.0].map(clipped));
    let far = fit(text, &Choices::new().numbers(Treatment::SmoothClip)).unwrap();
    close(&inputs(&far, "a\n1e300\n-1e300\n"), &[3.0, -3.0]);
    close(&way(Treatment::AsIs), &[1.0, 2.0, 3.0, 10.0]);
    let logs = way(Treatment::Log);
    assert!(logs.iter().sum::<f32>().abs() < 1e-5 && logs.is_sorted());
    let negative = fit("a\n-5\n-1\n0\n7\n", &Choices::new().numbers(Treatment::Log)).unwrap();
    assert!(inputs(&negative, "a\n-5\n-1e300\n0\n").iter().all(|value| value.is_finite()));
}

#[test]
fn missing_numbers_are_filled_and_flagged_where_training_had_some() {
    let text = "a,b\n1,1\n,2\n3,4\n8,9\n";
    let plan = fit(text, &Choices::new().numbers(Treatment::AsIs)).unwrap();
    assert_eq!(plan.feature_names(), ["a", "a is missing", "b"]);
    close(&inputs(&plan, "b,a\n,\n1,2\n"), &[4.0, 1.0, 4.0, 2.0, 0.0, 1.0]);
    let median = fit(text, &Choices::new().numbers(Treatment::AsIs).impute(Impute::Median)).unwrap();
    close(&inputs(&median, "b,a\n,\n1,2\n"), &[3.0, 1.0, 3.0, 2.0, 0.0, 1.0]);
}

#[test]
fn constant_and_empty_columns_are_left_out_and_said() {
    let plan =
        fit("a,b,c,d,e\n1,5,,x,2024-01-31\n2,5,,x,2024-01-31\n3,5,,x,2024-01-31\n", &Choices::new()).unwrap();
    assert_eq!(plan.feature_names(), ["a"]);
    let notes = plan.notes().join("\n");
    for name in
        ["column b is the same", "column c has no value", "column d is the same", "column e is the same"]
    {
        assert!(notes.contains(name), "{notes}");
    }
    let partly = fit("a,b\n1,5\n2,\n3,5\n", &Choices::new()).unwrap();
    close(&inputs(&partly, "a,b\n2,5\n2,\n2,9\n"), &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 4.0, 0.0]);
    assert!(fit("a\n1\n1\n", &Choices::new()).unwrap_err().to_string().contains("column a is the same"));
    let huge = fit("a,b\n1e308,1\n-1e308,2\n", &Choices::new()).unwrap_err().to_string();
    assert!(huge.contains("column a: numbers from -1e308"), "{huge}");
}

#[test]
fn words_have_slots_for_rare_and_missing_ones_and_unseen_ones_are_noted() {
    let text = "w\nb\na\nb\nc\nNA\na\n";
    let plan = fit(text, &Choices::new().rare(2)).unwrap();
    assert_eq!(plan.feature_names(), ["w=a", "w=b", "w=(other)", "w=(missing)"]);
    close(
        &inputs(&plan, "w,x\na,1\nzzz,1\n,1\n"),
        &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    );
    let plan = fit("w\na\nb\nc\n", &Choices::new()).unwrap();
    let made = plan.apply_inputs(&read("w,extra\nq,1\nb,1\n")).unwrap();
    close(&made.values, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let notes = made.notes.join("\n");
    assert!(notes.contains("column extra isn't used") && notes.contains("\"q\" first; rows: 1"), "{notes}");
    let codes = fit("w,n\na,1\nb,2\nc,3\n,4\n", &Choices::new().treat("w", Treatment::Codes)).unwrap();
    assert_eq!(codes.feature_names(), ["n", "w"]);
    assert_eq!(
        codes.vocabularies().iter().map(|(name, words)| (*name, words.size())).collect::<Vec<_>>(),
        [("w", 5)]
    );
    let made = inputs(&codes, "n,w\n1,c\n1,zzz\n1,\n");
    close(&[made[1], made[3], made[5]], &[2.0, 3.0, 4.0]);
    let pair = fit("s\nyes\nno\nno\nno\n", &Choices::new()).unwrap();
    assert_eq!(pair.feature_names(), ["s=yes"]);
    close(&inputs(&pair, "s\nno\nyes\n,\nmaybe\n".replace(",\n", "NA\n").as_str()), &[0.0, 1.0, 0.25, 0.25]);
}

#[test]
fn few_numbers_can_be_words_and_identifiers_are_left_out() {
    let text = "c,n\n2,1\n10,2\n1,3\n";
    let plan = fit(text, &Choices::new().treat("c", Treatment::OneHot).treat("n", Treatment::AsIs)).unwrap();
    assert_eq!(plan.feature_names(), ["c=1", "c=2", "c=10", "n"]);
    close(&inputs(&plan, "c,n\n10,7\n"), &[0.0, 0.0, 1.0, 7.0]);
    close(
        &plan.apply_inputs(&plan.reading().read(b"n,c\n7,10\n").unwrap()).unwrap().values,
        &[0.0, 0.0, 1.0, 7.0],
    );
    let mut text = String::from("id,n\n");
    (0..300).for_each(|row| text += &format!("p{row},{}\n", 3 * row));
    let plan = fit(&text, &Choices::new()).unwrap();
    assert_eq!(plan.feature_names(), ["n"]);
    assert!(plan.notes()[0].contains("identifier"));
    let kept = fit(&text, &Choices::new().treat("id", Treatment::OneHot).most_words(7)).unwrap();
    assert_eq!(kept.width(), 9);
}

#[test]
fn truths_told_stay_truths() {
    let told = Reading::new().kind("b", ColumnKind::Boolean).read(b"a,b\n1,0\n2,1\n3,1\n").unwrap();
    let plan = TablePreparation::fit(&told, &[0, 1, 2], &Choices::new().numbers(Treatment::AsIs)).unwrap();
    assert_eq!(plan.feature_names(), ["a", "b=true"]);
    let later = plan.reading().read(b"a,b\n1,1\n2,0\n3,True\n").unwrap();
    close(&plan.apply_inputs(&later).unwrap().values, &[1.0, 1.0, 2.0, 0.0, 3.0, 1.0]);
}

#[test]
fn dates_become_their_parts() {
    let text = "d\n2023-01-02\n2024-12-31\n\n2024-06-15T12:00\nNA\n";
    let plan = fit(text, &Choices::new()).unwrap();
    assert_eq!(plan.feature_names(), ["d.year", "d.month", "d.day", "d.weekday", "d.hour", "d is missing"]);
    let made = inputs(&plan, text);
    assert!(made.chunks(6).map(|row| row[0]).sum::<f32>().abs() < 1e-5);
    assert_eq!(made[18..], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let cycles = fit(text, &Choices::new().treat("d", Treatment::Cycles)).unwrap();
    let made = inputs(&cycles, "d\n2024-01-15\n2024-12-15\n2024-07-15\n");
    let month = |row: usize| [made[row * 10 + 1], made[row * 10 + 2]];
    let apart = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    assert!(apart(month(0), month(1)) < 0.6 && (apart(month(0), month(2)) - 2.0).abs() < 1e-5);
}

#[test]
fn only_training_rows_have_influence() {
    let table = |last: &str| {
        read(&format!("a,w,d,y\n1,x,2024-01-01,0\n2,y,2024-02-02,1\n4,z,2023-02-02,0\n{last}\n"))
    };
    let fit = |last| TablePreparation::fit(&table(last), &[0, 1, 2], &Choices::new().target("y")).unwrap();
    let plan = fit("3,x,2024-03-03,1");
    let flags = |last: &str| {
        let plan =
            TablePreparation::fit(&read(&format!("a,b\n1,No\n2,Yes\n{last}\n")), &[0, 1], &Choices::new())
                .unwrap();
        plan.to_json().unwrap()
    };
    assert_eq!(flags("3,Maybe"), flags("3,No"));
    for last in ["1e9,q,1950-01-01,7", ",,,"] {
        assert_eq!(fit(last), plan);
        assert_eq!(fit(last).to_json().unwrap(), plan.to_json().unwrap());
    }
}

#[test]
fn a_stored_preparation_comes_back_to_the_last_bit() {
    let text =
        "a,b,w,s,d,c,y\n0.1,3,x,m,2024-01-01T03:00,u,1.7\n0.7,,y,f,2023-05-06,v,2.9\n1e-9,5,z,m,,w,-3.3\n";
    let choices = Choices::new().target("y").treat("c", Treatment::Codes).treat("b", Treatment::Robust);
    let plan = fit(text, &choices).unwrap();
    let stored = plan.to_json().unwrap();
    let back = TablePreparation::from_json(&stored).unwrap();
    assert_eq!(back, plan);
    assert_eq!(inputs(&back, text), inputs(&plan, text));
    for length in 0..stored.len() {
        assert!(TablePreparation::from_json(&stored[..length]).is_err());
    }
    assert!(TablePreparation::from_json(&stored.replace("\"version\":1", "\"version\":2")).is_err());
    let own = fit(text, &choices.computed("half", |row| Ok(row.number("a")?.unwrap_or(0.0) / 2.0))).unwrap();
    assert_eq!(own.width(), plan.width() + 1);
    assert!(own.to_json().unwrap_err().to_string().contains("half"));
    let wrong = fit(text, &Choices::new().computed("half", |row| Ok(row.number("A")?.unwrap_or(0.0) / 0.0)));
    let error = wrong.unwrap().apply_inputs(&read(text)).unwrap_err().to_string();
    assert!(error.contains("did you mean \"a\"?"), "{error}");
}

#[test]
fn targets_are_classes_or_numbers() {
    let target = |text: &str, choices: Choices| fit(text, &choices.target("y"));
    let classes = |plan: &TablePreparation| match plan.target().unwrap() {
        TargetColumn::Classes { names, .. } => names.join(" "),
        TargetColumn::Labels { .. }
        | TargetColumn::Number { .. }
        | TargetColumn::Numbers { .. }
        | TargetColumn::Several { .. } => "number".to_string(),
    };
    assert_eq!(classes(&target("a,y\n1,10\n2,9\n3,10\n", Choices::new()).unwrap()), "9 10");
    assert_eq!(classes(&target("a,y\n1,yes\n2,no\n", Choices::new()).unwrap()), "no yes");
    assert_eq!(classes(&target("a,y\n1,1.5\n2,3.5\n", Choices::new()).unwrap()), "number");
    let told = Choices::new().target_kind(TargetKind::Number);
    let text = "a,y\n1,10\n2,20\n3,30\n";
    let plan = target(text, told).unwrap();
    let set = plan.apply(&read(text), &[0, 1, 2]).unwrap();
    let Values::F32(y) = set.targets() else { panic!("numbers") };
    assert!(y[1] == 0.0 && (plan.target().unwrap().restore(&[y[2].into()])[0] - 30.0).abs() < 1e-5);
    let fault = |text: &str| target(text, Choices::new()).unwrap_err().to_string();
    assert!(fault("a,y\n1,x\n2,x\n").contains("column y: the target is \"x\" in all training rows"));
    assert!(fault("a,y\n1,1.5\n2,1.5\n").contains("column y: the target is 1.5 in all"));
    assert!(fault("a,y\n1,\n2,\n").contains("column y: the target has no value"));
    assert!(fault("a,y\n1,x\n2,\n3,y\n").contains("line 3, column y: the target is missing"));
    let plan = target("a,y\n1,x\n2,y\n", Choices::new()).unwrap();
    let error = plan.apply(&read("a,y\n1,x\n2,q\n"), &[0, 1]).unwrap_err().to_string();
    assert!(
        error.contains("line 3, column y: \"q\" is no class that was in training, which were: x, y"),
        "{error}"
    );
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_names() {
    let plan = fit("age,sex,bp,y\n1,m,3,0\n2,f,4,1\n", &Choices::new().target("y")).unwrap();
    let fault = |text: &str| plan.apply_inputs(&read(text)).unwrap_err().to_string();
    let error = fault("Age,bp\n1,2\n");
    assert!(
        error.contains("lacks columns that training had: \"age\" (there is \"Age\"), \"sex\""),
        "{error}"
    );
    let error = fault("age,sex,bp\n1,m,3\nold,m,3\n");
    assert!(error.contains("line 3, column age: \"old\" is no number"), "{error}");
    assert!(plan.apply(&read("age,sex,bp\n1,m,3\n"), &[0]).unwrap_err().to_string().contains("\"y\""));
    assert!(plan.apply(&read("age,sex,bp,y\n1,m,3,0\n"), &[5]).unwrap_err().to_string().contains("no row 5"));
    let error = fit("age,y\n1,0\n2,1\n", &Choices::new().target("Y1")).unwrap_err().to_string();
    assert!(error.contains("did you mean \"y\"?"), "{error}");
    let error =
        fit("age,w\n1,a\n2,b\n", &Choices::new().treat("w", Treatment::Robust)).unwrap_err().to_string();
    assert!(error.contains("column w: Robust doesn't suit"), "{error}");
    let none = TablePreparation::fit(&read("a\n1\n2\n"), &[], &Choices::new()).unwrap_err().to_string();
    assert!(none.contains("needs rows"), "{none}");
    assert!(plan.reading().read(b"other\n1\n").is_ok(), "kinds of columns that aren't there are no fault");
}

#[test]
fn the_heart_table_becomes_a_set() {
    let Some(path) = kiln_testkit::data("heart.csv") else { return };
    let table = Table::open(path).unwrap();
    let parts = crate::fractions(table.len(), &[0.6, 0.2, 0.2], 7).unwrap();
    let choices = Choices::new().target("target").treat("chest pain type", Treatment::OneHot);
    let plan = TablePreparation::fit(&table, &parts[0], &choices).unwrap();
    let set = plan.apply(&table, &parts[2]).unwrap();
    // Eight numbers, four kinds of chest pain, and the ECG's three and the slope's four values, which are words.
    assert_eq!((table.len(), set.len(), set.y().codes(), plan.width()), (1190, 238, Some(2), 19));
    assert!(!table.repeated(&parts[2], &parts[0]).is_empty());
}

/// What is told of a target, and what comes of it: values that rows have, or why not.
#[test]
fn targets_are_learned_as_told() {
    let table = Table::read(b"a,y,word\n1,0,low\n2,1,high\n3,10,mid\n4,100,low\n5,3,mid\n").unwrap();
    let rows = [0, 1, 2, 3, 4];
    let fitted = |choices: Choices| TablePreparation::fit(&table, &rows, &choices);
    let number = Choices::new().target("y").target_kind(TargetKind::Number);
    let log = fitted(number.clone().log_target("y")).unwrap();
    let unit = log.target().unwrap().units()[0];
    assert!(matches!(unit.curve, Curve::Log { .. }));
    let y = log.apply(&table, &rows).unwrap().all().unwrap().y;
    let mean = (0..5).filter_map(|at| y.get(at)).sum::<f64>() / 5.0;
    assert!(mean.abs() < 1e-6, "{mean}");
    let back: Vec<f64> = (0..5).map(|at| unit.truth(y.get(at).unwrap())).collect();
    assert!(
        back.iter().zip([0.0, 1.0, 10.0, 100.0, 3.0]).all(|(own, y)| (own - y).abs() < 1e-4 * (1.0 + y)),
        "{back:?}"
    );
    let stored = TablePreparation::from_json(&log.to_json().unwrap()).unwrap();
    assert_eq!(stored.target(), log.target());

    let count = fitted(Choices::new().target("y").target_kind(TargetKind::Count)).unwrap();
    let y = count.apply(&table, &rows).unwrap().all().unwrap().y;
    assert!((y.get(2).unwrap() - 10.0 / 22.8).abs() < 1e-6);
    let below = Table::read(b"a,y,word\n1,-2,low\n").unwrap();
    assert!(count.apply(&below, &[0]).unwrap_err().to_string().contains("no count"));

    let ordinal = Choices::new().target("word").target_kind(TargetKind::Ordinal);
    let ordered = fitted(ordinal.clone().order(["low", "mid", "high"])).unwrap();
    let target = ordered.target().unwrap();
    assert_eq!(
        (target.classes(), target.are_ordered()),
        (&["low", "mid", "high"].map(String::from)[..], vec![true])
    );
    for (choices, says) in [
        (ordinal.clone(), "tell their order"),
        (ordinal.order(["low", "mid"]), "where \"high\" stands"),
        (Choices::new().target("word").interval(0.9), "predicted by its classes"),
        (number.clone().interval(1.5), "between 0 and 1"),
        (number.target_kind(TargetKind::RawNumber).log_target("y"), "only a number that is standardised"),
    ] {
        let error = fitted(choices).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn labels_are_a_class_each() {
    let table = Table::read(b"a,tags\n1,red; hot\n2,red\n3,cold;blue;\n4,hot\n").unwrap();
    let choices = Choices::new().target("tags").target_kind(TargetKind::Labels);
    let plan = TablePreparation::fit(&table, &[0, 1, 2, 3], &choices).unwrap();
    let y = plan.apply(&table, &[0, 2]).unwrap().all().unwrap().y;
    // blue, cold, hot, red
    assert_eq!(y, Values::F32(vec![0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]));
    let new = Table::read(b"a,tags\n1,red;warm\n").unwrap();
    assert!(plan.apply(&new, &[0]).unwrap_err().to_string().contains("\"warm\" is no label"));
    let single = Table::read(b"a,tags\n1,red\n2,blue\n").unwrap();
    let error = TablePreparation::fit(&single, &[0, 1], &choices).unwrap_err().to_string();
    assert!(error.contains("--task classes"), "{error}");
}
