//! The columns of an Arrow file, as far as a table has such.

use super::damaged;
use super::flat::FlatTable;
use crate::error::{Error, Result};
use crate::table::source::typed::unfit;

/// A column.
#[derive(Clone, Debug)]
pub(super) struct ArrowField {
    pub name: String,
    pub kind: ArrowKind,
    /// The dictionary that its numbers are codes of, and what they are.
    pub dictionary: Option<(i64, ArrowKind)>,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ArrowKind {
    Null,
    Int {
        bytes: usize,
        signed: bool,
    },
    /// Of so many bytes.
    Float(usize),
    Bool,
    /// Texts between offsets of so many bytes.
    Text(usize),
    /// Texts that stand in their view or in one of several buffers.
    View,
    /// Days.
    Date32,
    /// Thousandths of a second.
    Date64,
    /// Moments, so many to a second.
    Timestamp(i64),
    /// Times of the day in so many bytes, so many to a second.
    Time(usize, i64),
    /// 16 bytes, and how many digits stand behind the point.
    Decimal(i32),
}

/// How many of a unit make a second.
fn unit(unit: i16) -> Result<i64> {
    match unit {
        0 => Ok(1),
        1 => Ok(1000),
        2 => Ok(1_000_000),
        3 => Ok(1_000_000_000),
        _ => Err(damaged("a unit of time isn't known")),
    }
}

/// The columns that a schema lists.
pub(super) fn fields(schema: FlatTable<'_>) -> Result<Vec<ArrowField>> {
    if schema.short(0)?.unwrap_or(0) != 0 {
        return Err(Error::new(
            "the Arrow file has its numbers the other way round (big-endian); write it on another machine",
        ));
    }
    let list = schema.list(1, 4)?;
    (0..list.len).map(|at| field(list.table(at)?)).collect()
}

fn int(kind: FlatTable<'_>) -> Result<ArrowKind> {
    let bits = kind.int(0)?.unwrap_or(0);
    let bytes = match bits {
        8 | 16 | 32 | 64 => (bits / 8) as usize,
        _ => return Err(damaged("whole numbers have a size that there is none of")),
    };
    Ok(ArrowKind::Int { bytes, signed: kind.byte(1)?.unwrap_or(0) != 0 })
}

fn field(field: FlatTable<'_>) -> Result<ArrowField> {
    let name = field.text(0)?.unwrap_or_default().to_string();
    let of = field.table(3)?.ok_or_else(|| damaged("a column has no type"))?;
    let kind = match field.byte(2)?.unwrap_or(0) {
        1 => ArrowKind::Null,
        2 => int(of)?,
        3 => match of.short(0)?.unwrap_or(0) {
            0 => ArrowKind::Float(2),
            1 => ArrowKind::Float(4),
            _ => ArrowKind::Float(8),
        },
        4 | 5 => ArrowKind::Text(4),
        6 => ArrowKind::Bool,
        7 if of.int(2)?.unwrap_or(128) == 128 => ArrowKind::Decimal(of.int(1)?.unwrap_or(0)),
        8 if of.short(0)?.unwrap_or(1) == 0 => ArrowKind::Date32,
        8 => ArrowKind::Date64,
        9 => {
            let bytes = if of.int(1)?.unwrap_or(32) == 64 { 8 } else { 4 };
            ArrowKind::Time(bytes, unit(of.short(0)?.unwrap_or(1))?)
        }
        10 => ArrowKind::Timestamp(unit(of.short(0)?.unwrap_or(0))?),
        19 | 20 => ArrowKind::Text(8),
        23 | 24 => ArrowKind::View,
        12 | 16 | 21 | 25 | 26 => return Err(unfit(&name, "lists")),
        13 | 14 | 17 => return Err(unfit(&name, "structures and maps")),
        _ => return Err(unfit(&name, "values of this type of Arrow")),
    };
    let dictionary = match field.table(4)? {
        None => None,
        Some(dictionary) => {
            let codes = dictionary.table(1)?.map(int).transpose()?;
            let codes = codes.unwrap_or(ArrowKind::Int { bytes: 4, signed: true });
            Some((dictionary.long(0)?.unwrap_or(0), codes))
        }
    };
    Ok(ArrowField { name, kind, dictionary })
}
