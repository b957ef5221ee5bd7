//! Tables as they come: files that are written in every way that people and programs write them, with what each must become.

/// A file, and what it must become.
pub struct Awkward {
    /// What the file is called.
    pub name: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Each column with its kind and, where there are some, its missing cells: `a number, b category 2`.
    pub columns: &'static str,
    /// How many rows it has, its header aside.
    pub rows: usize,
    /// What is said of it; nothing is said where this is empty.
    pub said: &'static [&'static str],
}

fn file(
    name: &'static str,
    text: impl AsRef<[u8]>,
    columns: &'static str,
    rows: usize,
    said: &'static [&'static str],
) -> Awkward {
    Awkward { name, bytes: text.as_ref().to_vec(), columns, rows, said }
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

/// A table of a header and numbered rows: each `{}` of a pattern is the row's number, from 1.
fn rows(header: &str, count: usize, row: impl Fn(usize) -> String) -> String {
    (1..=count).fold(format!("{header}\n"), |text, number| text + &row(number) + "\n")
}

const NUMBERED: &str = "column1 number, column2 number";
const NO_HEADER: &[&str] = &["the first row is read as data"];

/// All of them.
pub fn files() -> Vec<Awkward> {
    [headers(), missing(), numbers(), dates(), names(), texts()].into_iter().flatten().collect()
}

fn headers() -> Vec<Awkward> {
    let named = "the first row names the columns, though one is named";
    let named: &'static [&'static str] = Box::leak(Box::new([named]));
    vec![
        file("plain.csv", "a,b\n1,x\n2,y\n", "a number, b category", 2, &[]),
        file(
            "years.csv",
            "2019,2020,2021,target\n1.5,2.5,3.5,yes\n4,5.25,6,no\n",
            "2019 number, 2020 number, 2021 number, target boolean",
            2,
            named,
        ),
        file(
            "years-only.csv",
            "2019,2020,2021\n5,3,9\n7,1,4\n",
            "2019 number, 2020 number, 2021 number",
            2,
            named,
        ),
        file("inf.csv", "inf,a\n1,2\n3,4\n", "inf number, a number", 2, &[]),
        file("nan.csv", "nan,a\n1,2\n3,4\n", "nan number, a number", 2, &[]),
        file("inf-alone.csv", "inf\n1\n3\n", "inf number", 2, &[]),
        file(
            "dates-wide.csv",
            "id,2024-01-01,2024-02-01\nx,1,2\ny,3,4\n",
            "id category, 2024-01-01 number, 2024-02-01 number",
            2,
            named,
        ),
        file("none.csv", "1,2\n3,4\n5,7\n", NUMBERED, 3, NO_HEADER),
        file("none-counting.csv", "1,2\n2,3\n3,4\n", NUMBERED, 3, NO_HEADER),
        file(
            "none-mixed.csv",
            "5.1,setosa\n4.9,setosa\n6.2,other\n5.8,other\n",
            "column1 number, column2 category",
            4,
            NO_HEADER,
        ),
        file(
            "none-words.csv",
            "red,small\nblue,large\nred,large\nblue,small\n",
            "column1 category, column2 category",
            4,
            NO_HEADER,
        ),
        file(
            "words.csv",
            "colour,size\nred,small\nblue,large\nred,large\n",
            "colour category, size category",
            3,
            &[],
        ),
        file("one-row.csv", "a,b\n1,2\n", "a number, b number", 1, &[]),
        file("units-named.csv", "5km,10km\n20.5,44\n19,41.2\n", "5km number, 10km number", 2, named),
    ]
}

fn missing() -> Vec<Awkward> {
    let all = rows("x,y", 40, |row| match row {
        3 => "-,1".to_string(),
        7 => "#N/A,1".to_string(),
        9 => "NaN,1".to_string(),
        11 => "null,1".to_string(),
        13 => "none,1".to_string(),
        17 => "missing,1".to_string(),
        19 => " ,1".to_string(),
        21 => ".,1".to_string(),
        _ => format!("{row}.5,{row}"),
    });
    let first = "a,b\n-,x\n1,y\n2,x\n";
    let late = rows("a,b", 30_000, |row| if row == 29_000 { "-,x".to_string() } else { format!("{row},x") });
    vec![
        file(
            "missing.csv",
            all,
            "x number 8, y number",
            40,
            &["column x: \"-\" (1), \".\" (1), \"missing\" (1) counts as missing"],
        ),
        file(
            "missing-first.csv",
            first,
            "a number 1, b category",
            3,
            &["column a: \"-\" (1) counts as missing"],
        ),
        file(
            "missing-late.csv",
            late,
            "a number 1, b category",
            30_000,
            &["column a: \"-\" (1) counts as missing"],
        ),
        file(
            "missing-dates.csv",
            "d\n2024-01-31\n-\n2024-02-01\n",
            "d date 1",
            3,
            &["column d: \"-\" (1) counts as missing"],
        ),
        file("missing-words.csv", "a,b\nx,1\n-,2\ny,3\n", "a category, b number", 3, &[]),
        file(
            "unknown-word.csv",
            "a,b\n1,1\nbad,2\n3,3\n",
            "a category, b number",
            3,
            &[
                "column a is read as words, because line 3 says \"bad\"; --missing \"bad\" reads that as missing",
            ],
        ),
        file(
            "excel-errors.csv",
            "a\n1\n#DIV/0!\n#REF!\n4.5\n",
            "a number 2",
            4,
            &["column a: \"#DIV/0!\" (1), \"#REF!\" (1) counts as missing"],
        ),
        file("all-missing.csv", "a,b\n,1\nNA,2\n", "a number 2, b number", 2, &[]),
    ]
}

fn numbers() -> Vec<Awkward> {
    let late =
        rows("a;b", 30_000, |row| if row < 29_000 { format!("{row};1") } else { format!("{row},5;1") });
    let comma = "numbers with decimal commas, such as";
    let commas: &'static [&'static str] = Box::leak(Box::new([comma]));
    let points = rows("a;b", 20_000, |row| format!("{}.{:03};{},5", row % 90 + 1, row % 1000, row));
    vec![
        file("commas.csv", "a;b\n1,5;x\n2;y\n0,25;x\n", "a number, b category", 3, commas),
        file("commas-quoted.csv", "a,b\n\"1,5\",x\n\"2,25\",y\n", "a number, b category", 2, commas),
        file("commas-late.csv", late, "a number, b number", 30_000, commas),
        file(
            "points-between.csv",
            "a;b\n1.234,5;1\n12,5;2\n",
            "a number, b number",
            2,
            &["numbers with decimal commas and \".\" between thousands, such as \"1.234,5\""],
        ),
        file(
            "points-beside-commas.csv",
            points,
            "a number, b number",
            20_000,
            &["column a: numbers with \".\" between thousands"],
        ),
        file(
            "commas-between.csv",
            "a,b\n\"1,234.5\",1\n\"12\",2\n",
            "a number, b number",
            2,
            &["numbers with \",\" between thousands, such as \"1,234.5\""],
        ),
        file(
            "commas-ambiguous.csv",
            "a,b\n\"1,234\",x\n\"5,678\",y\n",
            "a number, b category",
            2,
            &["it could be one of decimals too: --decimal , says so"],
        ),
        file(
            "spaces-between.csv",
            "a;b\n1 234,5;1\n12 000;2\n",
            "a number, b number",
            2,
            &["decimal commas and spaces between thousands"],
        ),
        file(
            "apostrophes.csv",
            "a;b\n1'234.5;1\n12'000;2\n",
            "a number, b number",
            2,
            &["between thousands"],
        ),
        file(
            "dollars.csv",
            "price,n\n\"$1,234.50\",1\n$12,2\n-$3.5,3\n",
            "price number, n number",
            3,
            &["the unit \"$\""],
        ),
        file(
            "euros.csv",
            "price;n\n12,50 €;1\n1.200,00 €;2\n",
            "price number, n number",
            2,
            &["decimal commas and \".\" between thousands and the unit \"€\""],
        ),
        file(
            "percent.csv",
            "share,n\n12%,1\n3.5%,2\n-,3\n",
            "share number 1, n number",
            3,
            &["the unit \"%\"", "\"-\" (1) counts as missing"],
        ),
        file(
            "units.csv",
            "weight,n\n12 kg,1\n3.5 kg,2\n",
            "weight number, n number",
            2,
            &["numbers with the unit \"kg\", such as \"3.5 kg\""],
        ),
        file("units-mixed.csv", "weight,n\n12 kg,1\n300 g,2\n", "weight category, n number", 2, &[]),
        file("brackets.csv", "owed,n\n(12),1\n5,2\n", "owed number, n number", 2, &[]),
        file("ranges.csv", "band,n\n10-20,1\n20-30,2\n", "band category, n number", 2, &[]),
        file("versions.csv", "v,n\n1.2.3,1\n1.10.4,2\n", "v category, n number", 2, &[]),
    ]
}

fn dates() -> Vec<Awkward> {
    vec![
        file("iso.csv", "d,n\n2024-01-31,1\n2024-02-01T08:30,2\n", "d date, n number", 2, &[]),
        file(
            "german.csv",
            "d;n\n31.01.2024;1\n1.2.2024;2\n",
            "d date, n number",
            2,
            &["column d: dates, the day first, such as \"31.01.2024\""],
        ),
        file(
            "british.csv",
            "d,n\n31/01/2024,1\n02/03/2024,2\n",
            "d date, n number",
            2,
            &["dates, the day first"],
        ),
        file(
            "american.csv",
            "d,n\n1/31/2024 8:30 PM,1\n2/3/2024 9:00 AM,2\n",
            "d date, n number",
            2,
            &["dates, the month first"],
        ),
        file(
            "ambiguous.csv",
            "d,n\n03/04/2024,1\n05/06/2024,2\n",
            "d date, n number",
            2,
            &[
                "dates, the month first, such as \"03/04/2024\" (nothing in it shows which is which); --dates dmy",
            ],
        ),
        file(
            "shown-elsewhere.csv",
            "d,e\n03/04/2024,31/12/2023\n05/06/2024,30/11/2023\n",
            "d date, e date",
            2,
            &["columns d and e: dates, the day first, such as \"03/04/2024\""],
        ),
        file("months.csv", "d,n\n31 Jan 2024,1\n1 Feb 2024,2\n", "d date, n number", 2, &["dates, such as"]),
        file("compact.csv", "d,n\n20240131,7\n20240201,2\n", "d date, n number", 2, &["column d: dates"]),
        file("slashes.csv", "d,n\n2024/01/31,1\n2024/2/1,2\n", "d date, n number", 2, &["dates, such as"]),
        file("times.csv", "t,n\n08:30,1\n17:45,2\n", "t date, n number", 2, &["dates, such as \"08:30\""]),
        file(
            "unix.csv",
            "timestamp,n\n1706659200,1\n1706745600,2\n",
            "timestamp date, n number",
            2,
            &["column timestamp: moments, in seconds since 1970"],
        ),
        file(
            "unix-named-otherwise.csv",
            "amount,n\n1706659200,1\n1706745600,2\n",
            "amount number, n number",
            2,
            &[],
        ),
        file(
            "milliseconds.csv",
            "created_time,n\n1706659200000,1\n1706745600123,2\n",
            "created_time date, n number",
            2,
            &["in thousandths of a second since 1970"],
        ),
        file(
            "month.csv",
            "month,n\n1949-01,112\n1949-02,118\n",
            "month date, n number",
            2,
            &["dates, such as"],
        ),
        file("no-dates.csv", "d,n\n31/02/2024,1\n40/01/2024,2\n", "d category, n number", 2, &[]),
    ]
}

fn names() -> Vec<Awkward> {
    vec![
        file("index.csv", ",a,b\n0,1.5,x\n1,2.5,y\n", "index number, a number, b category", 2, &[]),
        file("index-again.csv", "Unnamed: 0,a\n0,1.5\n1,2.5\n", "index number, a number", 2, &[]),
        file("index-unsaid.csv", "a,b\nr1,1.5,x\nr2,2.5,y\n", "index category, a number, b category", 2, &[]),
        file(
            "twice.csv",
            "a,a,b\n1,2,3\n4,5,6\n",
            "a number, a.1 number, b number",
            2,
            &["names that stand twice: \"a\" in columns 1 and 2 (now \"a.1\")"],
        ),
        file(
            "unnamed.csv",
            "a,,b\n1,2,3\n4,5,6\n",
            "a number, column2 number, b number",
            2,
            &["column 2 has no name and is called column2"],
        ),
    ]
}

fn texts() -> Vec<Awkward> {
    let text = "größe,b\n1,ä\n2,ö\n";
    let marked = "\u{feff}größe,b\n1,ä\n2,ö\n";
    let columns = "größe number, b category";
    vec![
        file("utf-16.csv", utf16(marked, false), columns, 2, &["the text is UTF-16"]),
        file("utf-16-big.csv", utf16(marked, true), columns, 2, &["the text is UTF-16"]),
        file(
            "utf-16-unmarked.csv",
            utf16("a,b\n1,ä\n2,ö\n", false),
            "a number, b category",
            2,
            &["the text is UTF-16"],
        ),
        file("utf-8-marked.csv", marked, columns, 2, &[]),
        file(
            "latin-1.csv",
            b"gr\xf6\xdfe,b\n1,\xe4\n2,\xf6\n",
            columns,
            2,
            &["the text is Latin-1 (Windows-1252)"],
        ),
        file("sep.csv", "sep=;\r\na;b\r\n1,5;x\r\n2,5;y\r\n", "a number, b category", 2, &["decimal commas"]),
        file("sep-odd.csv", "sep=|\na|b\n1|x,y\n2|z,w\n", "a number, b category", 2, &[]),
        file("tabs.tsv", text.replace(',', "\t"), columns, 2, &[]),
        file("lines.jsonl", "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n", "a number, b category", 2, &[]),
        file(
            "list.json",
            "[{\"a\":1,\"b\":\"31.01.2024\"},{\"a\":2,\"b\":\"01.02.2024\"}]",
            "a number, b date",
            2,
            &["the day first"],
        ),
        file("carriage.csv", "a,b\r1,x\r2,y\r", "a number, b category", 2, &[]),
        file("quotes.csv", "\"a\",\"b\"\r\n\"1\",\"two\nlines\"\r\n2,y\r\n", "a number, b category", 2, &[]),
    ]
}
