//! Single rows are held beside the same rows of a file.

use super::*;
use crate::Rng;

/// Cells of a column as a file may have them, and how it is treated.
const COLUMNS: [(&str, &[&str], Option<Treatment>); 14] = [
    ("amount", &["1.5", "-20", "3e4", "", "NA", " 7 ", "0.125"], None),
    ("log", &["1", "10", "100", "", "0", "-5", "77"], Some(Treatment::Log)),
    ("plain", &["0.5", "1.25", "-0", "?", "9"], Some(Treatment::AsIs)),
    ("spread", &["1", "2", "3", "400", ""], Some(Treatment::Robust)),
    ("far", &["1", "2", "3", "-4e9", ""], Some(Treatment::SmoothClip)),
    ("grade", &["1", "2", "3"], None),
    ("level", &["1", "2", "3", "4", ""], Some(Treatment::OneHot)),
    ("code", &["10", "20", "30.5", ""], Some(Treatment::Codes)),
    ("word", &["red", "green", "blue", "", "none"], None),
    ("pair", &["yes", "no", ""], None),
    ("embedded", &["a", "b", "c d", "", "e,f"], Some(Treatment::Codes)),
    ("day", &["2024-01-31", "2023-12-24", "2020-02-29", ""], None),
    ("moment", &["2024-01-31T08:30", "2023-12-24 23:59", ""], Some(Treatment::Cycles)),
    ("truth", &["true", "false", ""], None),
];

fn row(rng: &mut Rng, strange: bool) -> Vec<String> {
    let cell = |(name, cells, _): &(&str, &[&str], _), rng: &mut Rng| match (*name, strange) {
        ("word" | "embedded", true) if rng.below(3) == 0 => "never seen".to_string(),
        ("grade" | "level" | "code", true) if rng.below(3) == 0 => "77".to_string(),
        _ => cells[rng.below(cells.len())].to_string(),
    };
    COLUMNS.iter().map(|column| cell(column, rng)).collect()
}

fn file(rows: &[Vec<String>]) -> String {
    let quoted = |cell: &String| if cell.contains(',') { format!("\"{cell}\"") } else { cell.clone() };
    let line = |cells: &Vec<String>| cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    let names = COLUMNS.iter().map(|(name, ..)| name.to_string()).collect();
    line(&names) + &rows.iter().map(line).collect::<String>()
}

fn fitted(rng: &mut Rng) -> TablePreparation {
    let rows: Vec<Vec<String>> = (0..200).map(|_| row(rng, false)).collect();
    let table = Table::read(file(&rows).as_bytes()).unwrap();
    let mut choices = Choices::new();
    for (name, _, treatment) in COLUMNS {
        choices = treatment.into_iter().fold(choices, |choices, how| choices.treat(name, how));
    }
    TablePreparation::fit(&table, &(0..200).collect::<Vec<_>>(), &choices).unwrap()
}

/// The inputs of a file in a stream, and what is said of its words.
fn stream(plan: &TablePreparation, text: &str) -> Result<(Vec<f32>, Vec<String>)> {
    let TableText::Rows(mut rows) = RowStream::of(text.as_bytes(), &plan.reading())? else { unreachable!() };
    let encoder = RowEncoder::new(&rows, plan)?;
    let (mut inputs, mut unseen) = (Vec::new(), UnseenWords::default());
    while let Some(block) = rows.next_block()? {
        let encoded = encoder.encode(&block)?;
        unseen.add(&encoded);
        inputs.extend(encoded.inputs);
    }
    Ok((inputs, encoder.unseen(&unseen)))
}

#[test]
fn a_row_alone_becomes_what_it_becomes_in_a_file() {
    let mut rng = Rng::new(5);
    for _ in 0..4 {
        let plan = fitted(&mut rng);
        let rows: Vec<Vec<String>> = (0..60).map(|_| row(&mut rng, true)).collect();
        let table = plan.reading().read(file(&rows).as_bytes()).unwrap();
        let whole = plan.apply_inputs(&table).unwrap();
        let single = plan.row_plan().unwrap();
        assert_eq!(single.width(), whole.width);
        assert_eq!(stream(&plan, &file(&rows)).unwrap(), (whole.values.clone(), whole.notes.clone()));
        let mut inputs = vec![f32::NAN; whole.width];
        for (at, row) in rows.iter().enumerate() {
            // Also backwards, as maps have them.
            let named = COLUMNS.iter().map(|(name, ..)| name).zip(row).rev();
            single.encode(&single.cells(named).unwrap(), &mut inputs).unwrap();
            let expected = &whole.values[at * whole.width..][..whole.width];
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&inputs), bits(expected), "{row:?}: {inputs:?}, in the file {expected:?}");
        }
    }
}

/// Cells in the order of [`COLUMNS`], encoded.
fn encoded(plan: &RowPlan, cells: &[RawCell]) -> Result<Vec<f32>> {
    let named = COLUMNS.iter().map(|(name, ..)| name).zip(cells.iter().copied());
    let mut inputs = vec![0.0; plan.width()];
    plan.encode(&plan.cells(named)?, &mut inputs)?;
    Ok(inputs)
}

#[test]
fn a_row_is_refused_as_it_is_in_a_file() {
    let plan = fitted(&mut Rng::new(5));
    let single = plan.row_plan().unwrap();
    let good = [
        "1",
        "1",
        "1",
        "1",
        "1",
        "1",
        "1",
        "10",
        "red",
        "yes",
        "a",
        "2024-01-31",
        "2024-01-31T08:30",
        "true",
    ];
    encoded(&single, &good.map(RawCell::from)).unwrap();
    for (at, wrong) in [
        (0, "many"),
        (0, "inf"),
        (1, "1,5"),
        (4, "z"),
        (5, "x"),
        (7, "y"),
        (11, "May"),
        (12, "8"),
        (13, "perhaps"),
    ] {
        let mut row = good.map(str::to_string).to_vec();
        row[at] = wrong.to_string();
        let cells: Vec<RawCell> = row.iter().map(RawCell::from).collect();
        let alone = encoded(&single, &cells).unwrap_err();
        let error =
            plan.reading().read(file(&[row.clone()]).as_bytes()).map(|table| plan.apply_inputs(&table));
        let whole = error.and_then(|applied| applied).unwrap_err();
        assert_eq!((&alone.column, &alone.message), (&whole.column, &whole.message), "{wrong}");
        let streamed = stream(&plan, &file(&[row.clone(), row])).unwrap_err();
        assert_eq!(
            (streamed.column, streamed.message, streamed.line),
            (whole.column, whole.message, Some(2)),
            "{wrong}"
        );
    }
    let lacking = single.cells([("amount", "1")]).unwrap_err().to_string();
    assert!(lacking.contains("columns that training had: \"log\""), "{lacking}");
}

#[test]
fn a_column_that_is_there_twice_is_refused() {
    let table = Table::read(b"age,sex,y\n1,m,0.5\n2,f,1\n3,m,2\n").unwrap();
    let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new().target("y")).unwrap();
    let plan = plan.row_plan().unwrap();
    // In the table's order, and in others; the same value twice is twice too.
    for row in [["age", "age", "sex"], ["age", "sex", "age"], ["sex", "age", "age"]] {
        let error = plan.cells(row.map(|name| (name, "1"))).unwrap_err().to_string();
        assert!(error.contains("column age") && error.contains("twice"), "{error}");
    }
    // What isn't needed may be there as often as it likes.
    plan.cells(["note", "age", "note", "sex"].map(|name| (name, "1"))).unwrap();
}

#[test]
fn rows_of_a_stream_are_refused_as_those_of_a_table() {
    let plan = TablePreparation::plain(["a", "b"]).unwrap();
    for text in ["a,b\n1,2\n3\n", "a,b\n1,2\n3,4,5\n", "a,b\n\"1\",2\n3\n", "a,c\n1,2\n", "a,b\n1,2\n\"3,4\n"]
    {
        let whole =
            plan.reading().read(text.as_bytes()).and_then(|table| plan.apply_inputs(&table)).unwrap_err();
        let streamed = stream(&plan, text).unwrap_err();
        assert_eq!(streamed.to_string(), whole.to_string(), "{text}");
    }
    // What isn't UTF-8 is Windows', unless letters of UTF-8 stand before it.
    let latin = b"a,b,stra\xdfe\n1,2,\xe4\n3,4,\xf6\n";
    let TableText::Rows(mut rows) = RowStream::of(&latin[..], &plan.reading()).unwrap() else {
        unreachable!()
    };
    assert_eq!(rows.names().last(), Some("straße"));
    let encoder = RowEncoder::new(&rows, &plan).unwrap();
    let encoded = encoder.encode(&rows.next_block().unwrap().unwrap()).unwrap();
    assert_eq!((encoded.written(1), &encoded.inputs[..]), ("3,4,ö".as_bytes(), &[1.0, 2.0, 3.0, 4.0][..]));
    let mixed = ["a,b,straße\n".as_bytes(), b"1,2,\xe4\n"].concat();
    let TableText::Rows(mut rows) = RowStream::of(&mixed[..], &plan.reading()).unwrap() else {
        unreachable!()
    };
    let block = rows.next_block().unwrap().unwrap();
    let error = RowEncoder::new(&rows, &plan).unwrap().encode(&block).err().unwrap().to_string();
    assert!(error.contains("line 2") && error.contains("isn't UTF-8"), "{error}");
}

#[test]
fn a_word_for_missing_values_may_be_a_number() {
    let table = Reading::new().missing("-999").read(b"a,b\n1,2\n-999,3\n4,5\n").unwrap();
    assert_eq!(table.column("a").unwrap().cell(1), Cell::Missing);
    let plan = TablePreparation::fit(&table, &[0, 1, 2], &Choices::new()).unwrap();
    let (inputs, _) = stream(&plan, "a,b\n-999,2\n").unwrap();
    let single = plan.row_plan().unwrap();
    let mut alone = vec![0.0; single.width()];
    single.encode(&single.cells([("a", "-999"), ("b", "2")]).unwrap(), &mut alone).unwrap();
    assert_eq!((inputs, alone.get(1)), (alone.clone(), Some(&1.0)));
}

#[test]
fn a_number_that_is_none_is_missing_in_every_column() {
    let plan = fitted(&mut Rng::new(5)).row_plan().unwrap();
    let good = [
        "1",
        "1",
        "1",
        "1",
        "1",
        "1",
        "1",
        "10",
        "red",
        "yes",
        "a",
        "2024-01-31",
        "2024-01-31T08:30",
        "true",
    ];
    for at in 0..COLUMNS.len() {
        let mut cells = good.map(RawCell::from);
        cells[at] = RawCell::Missing;
        let missing = encoded(&plan, &cells).unwrap();
        for none in [RawCell::Number(f64::NAN), f64::NAN.into(), f32::NAN.into()] {
            cells[at] = none;
            assert_eq!(encoded(&plan, &cells).unwrap(), missing, "{}", COLUMNS[at].0);
        }
    }
}

#[test]
fn typed_cells_are_what_their_text_is() {
    let plan = fitted(&mut Rng::new(5)).row_plan().unwrap();
    let text =
        ["1.5", "10", "", "2", "2.5", "3", "4", "20", "none", "yes", "never", "2024-01-31", "", "true"];
    let mut cells = text.map(RawCell::from);
    let texts = encoded(&plan, &cells).unwrap();
    for (at, number) in
        [(0, 1.5), (1, 10.0), (2, f64::NAN), (3, 2.0), (4, 2.5), (5, 3.0), (6, 4.0), (7, 20.0)]
    {
        cells[at] = number.into();
    }
    (cells[8], cells[12], cells[13]) = (RawCell::Missing, None::<&str>.into(), true.into());
    assert_eq!(encoded(&plan, &cells).unwrap(), texts);
}

#[test]
fn a_preparation_with_code_in_it_has_no_way_for_single_rows() {
    let table = Table::read(b"a,y\n1,x\n2,y\n").unwrap();
    let choices =
        Choices::new().target("y").computed("double", |row| Ok(2.0 * row.number("a")?.unwrap_or(0.0)));
    let plan = TablePreparation::fit(&table, &[0, 1], &choices).unwrap();
    assert!(plan.row_plan().unwrap_err().to_string().contains("of one's own"));
}
