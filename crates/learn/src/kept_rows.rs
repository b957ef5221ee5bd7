//! Rows of a training that a model's file keeps with their answers, where somebody asked for it: the nearest of them show what a new row is like. They
//! are the cells as they were, so that whoever has the file can read them.

use kiln_data::{Cell, Encoding, Feature, RawCell, Table, TablePreparation};
use kiln_map::counted;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Some rows of a training, with their answers.
///
/// ```
/// use kiln::data::{Choices, Table, TablePreparation};
/// use kiln::explain::KeptRows;
///
/// let table = Table::read(b"age,sex,ill\n63,male,yes\n41,female,no\n,male,no\n55,female,yes\n")?;
/// let plan = TablePreparation::fit(&table, &[0, 1, 2, 3], &Choices::new().target("ill"))?;
/// let kept = KeptRows::new(&table, &[0, 1, 2, 3], &plan, 100)?;
/// let near = kept.nearest(&plan, &[("age", "60".into()), ("sex", "male".into())], 2)?;
/// assert_eq!((near[0].answers.as_slice(), near[0].row), (&["yes".to_string()][..], 0));
/// assert!(near[0].distance < near[1].distance);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptRows {
    /// The columns that the model needs, in their order.
    columns: Vec<String>,
    rows: Vec<Vec<KeptCell>>,
    /// What is predicted, row by row.
    answers: Vec<Vec<String>>,
}

/// A cell as a file holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum KeptCell {
    Number(f64),
    Word(String),
    Missing(()),
}

/// A kept row that is near another.
#[derive(Clone, Debug, PartialEq)]
pub struct NearRow {
    /// Its place among those that are kept.
    pub row: usize,
    /// How far it is: the root of the sum of the squares of how far its columns are.
    pub distance: f64,
    /// Its cells, in the order of [`KeptRows::columns`].
    pub cells: Vec<String>,
    /// Its answers, one for each target.
    pub answers: Vec<String>,
}

/// Kept cells are no more bytes than this, however many rows were asked for.
const BYTES: usize = 16 << 20;

/// A column is no farther than this.
const FARTHEST: f64 = 3.0;

impl KeptCell {
    fn of(cell: Cell) -> KeptCell {
        match cell {
            Cell::Number(number) => KeptCell::Number(number),
            Cell::Missing => KeptCell::Missing(()),
            Cell::Word(_) | Cell::Date { .. } => KeptCell::Word(cell.text().unwrap_or_default().into_owned()),
        }
    }

    fn raw(&self) -> RawCell<'_> {
        match self {
            KeptCell::Number(number) => RawCell::Number(*number),
            KeptCell::Word(word) => RawCell::Text(word),
            KeptCell::Missing(()) => RawCell::Missing,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            KeptCell::Number(_) | KeptCell::Missing(()) => 8,
            KeptCell::Word(word) => word.len() + 4,
        }
    }
}

impl KeptRows {
    /// At most so many of some rows of a table, evenly among them; fewer where they would be too large.
    ///
    /// # Errors
    /// Where the table lacks columns, or the preparation has transforms of one's own.
    pub fn new(table: &Table, rows: &[usize], plan: &TablePreparation, most: usize) -> Result<KeptRows> {
        let columns = plan.row_plan()?.columns().to_vec();
        let own = columns.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let targets: Vec<&str> = plan.target().map(|target| target.columns()).unwrap_or_default();
        let targets = targets.into_iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let count = most.min(rows.len());
        let mut kept = KeptRows { columns, rows: Vec::new(), answers: Vec::new() };
        let mut bytes = 0;
        for at in 0..count {
            let row = rows[at * rows.len() / count];
            let cells: Vec<KeptCell> = own.iter().map(|column| KeptCell::of(column.cell(row))).collect();
            bytes += cells.iter().map(KeptCell::bytes).sum::<usize>();
            if bytes > BYTES {
                break;
            }
            kept.rows.push(cells);
            let answer =
                |column: &&kiln_data::Column| column.cell(row).text().unwrap_or_default().into_owned();
            kept.answers.push(targets.iter().map(answer).collect());
        }
        Ok(kept)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns of the cells.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether they are rows of what a preparation takes.
    ///
    /// # Errors
    /// Where they aren't.
    pub fn check(&self, plan: &TablePreparation) -> Result<()> {
        let needed = plan.row_plan()?;
        let whole = self.rows.iter().all(|row| row.len() == self.columns.len())
            && self.rows.len() == self.answers.len();
        match needed.columns() == self.columns && whole {
            true => Ok(()),
            false => Err(Error::Preparation(format!(
                "the rows that the model's file keeps are of {}, and the preparation takes others",
                counted(self.columns.len(), "column")
            ))),
        }
    }

    /// The kept rows nearest to a raw one, so many of them, the nearest first. Numbers are as far apart as their inputs, words and truths that differ
    /// by one, texts by the share of words that only one has.
    ///
    /// # Errors
    /// Where a cell is of another kind than in training, or a column is lacking.
    pub fn nearest(
        &self,
        plan: &TablePreparation,
        row: &[(&str, RawCell)],
        count: usize,
    ) -> Result<Vec<NearRow>> {
        let encode = plan.row_plan()?;
        let mut own = vec![0.0; encode.width()];
        encode.encode(&encode.cells(row.iter().map(|(name, cell)| (*name, *cell)))?, &mut own)?;
        let groups = plan.groups();
        let feature = |name: &str| plan.features().iter().find(|feature| feature.column == name);
        let parts: Vec<(Option<&Feature>, std::ops::Range<usize>)> =
            groups.into_iter().map(|(name, places)| (feature(&name), places)).collect();
        let mut theirs = vec![0.0; encode.width()];
        let mut found = Vec::with_capacity(self.rows.len());
        for (at, cells) in self.rows.iter().enumerate() {
            let raw: Vec<RawCell> = cells.iter().map(KeptCell::raw).collect();
            encode.encode(&raw, &mut theirs)?;
            let far = |(feature, places): &(Option<&Feature>, std::ops::Range<usize>)| {
                let far = apart(*feature, &own[places.clone()], &theirs[places.clone()]);
                far.min(FARTHEST) * far.min(FARTHEST)
            };
            found.push((parts.iter().map(far).sum::<f64>().sqrt(), at));
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(count);
        let near = |(distance, row): (f64, usize)| NearRow {
            row,
            distance,
            cells: self.rows[row].iter().map(|cell| cell.raw().text().into_owned()).collect(),
            answers: self.answers[row].clone(),
        };
        Ok(found.into_iter().map(near).collect())
    }
}

/// How far the inputs of a column are apart.
fn apart(feature: Option<&Feature>, own: &[f32], theirs: &[f32]) -> f64 {
    let differ = own.iter().zip(theirs).filter(|(a, b)| a != b).count() as f64;
    let sum = own.iter().zip(theirs).map(|(a, b)| f64::from(a - b).abs()).sum::<f64>();
    match feature.map(|feature| &feature.encoding) {
        Some(Encoding::OneHot { .. } | Encoding::Codes { .. } | Encoding::Pair { .. }) => {
            f64::from(u8::from(differ > 0.0))
        }
        Some(Encoding::Text { .. }) => {
            let either = own.iter().zip(theirs).filter(|(a, b)| **a > 0.0 || **b > 0.0).count() as f64;
            differ / either.max(1.0)
        }
        Some(Encoding::Date { .. }) => sum / own.len().max(1) as f64,
        Some(Encoding::Number { .. }) | None => sum,
    }
}
