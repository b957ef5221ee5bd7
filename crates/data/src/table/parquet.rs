//! Parquet files, column by column of their schema. A column of texts that are all dates is one of dates.

use std::fs::File;
use std::path::Path;

use kiln_map::Budget;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::Table;
use super::builder::{ColumnBuilder, ColumnLayout, Misfit};
use super::column::{Column, ColumnKind};
use super::date;
use super::raw::RawCell;
use super::reading::Reading;
use super::unknown::unknown_column;
use crate::error::{Error, Result};

const DAY: i64 = 86_400;

/// Reads a file.
pub(super) fn open(path: &Path, reading: &Reading) -> Result<Table> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let broken = |error: parquet::errors::ParquetError| {
        Error::new(format!("the Parquet file can't be read: {error}; it is cut off or damaged")).in_file(path)
    };
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema();
    let mut known: Vec<ColumnLayout> =
        schema.get_fields().iter().map(|field| reading.column(field.name().to_string())).collect();
    if let Some((name, _)) =
        reading.kinds.iter().find(|(name, _)| known.iter().all(|known| known.name != *name))
    {
        return Err(unknown_column(name, known.iter().map(|known| known.name.as_str())).in_file(path));
    }
    // A column of texts that turn out not to be dates is read again as words, which take anything.
    'again: loop {
        let mut builders: Vec<ColumnBuilder> =
            known.iter().map(|known| ColumnBuilder::new(known, 0)).collect();
        let (mut rows, budget) = (0, Budget::default());
        for row in reader.get_row_iter(None).map_err(broken)? {
            let row = row.map_err(broken)?;
            for (place, (_, field)) in row.get_column_iter().enumerate() {
                let (Some(builder), Some(column)) = (builders.get_mut(place), known.get_mut(place)) else {
                    continue;
                };
                let fault = |message: String| {
                    Error::new(format!("row {}: {message}", rows + 1)).in_file(path).in_column(&column.name)
                };
                let text;
                let raw = match value(field).map_err(fault)? {
                    ParquetCell::Raw(raw) => raw,
                    ParquetCell::Text(owned) => {
                        text = owned;
                        RawCell::Quoted(&text)
                    }
                };
                match builder.push(raw) {
                    Ok(()) => {}
                    Err(Misfit::Fault(message)) => return Err(fault(message)),
                    Err(Misfit::Kind) => {
                        column.kind = Some(ColumnKind::Category);
                        continue 'again;
                    }
                }
            }
            rows += 1;
            // Lists grow to twice what is in them, and a word is held with its code.
            budget
                .bytes(32 * builders.len() as u64)
                .map_err(|exceeded| Error::from(exceeded).in_file(path))?;
        }
        if rows == 0 {
            return Err(Error::new("the table has no rows").in_file(path));
        }
        let told = |known: &ColumnLayout| known.kind.filter(|_| known.told);
        let columns = builders.into_iter().zip(&known);
        let columns = columns
            .map(|(builder, known)| Column::of(known.name.clone(), builder.finish().0, told(known)))
            .collect();
        let mut table = Table::new(columns).map_err(|error| error.in_file(path))?;
        table.file = Some(path.to_path_buf());
        // What pandas calls its index.
        let unnamed = table.names().find(|name| *name == "__index_level_0__").map(str::to_string);
        table.unnamed = unnamed;
        return Ok(table);
    }
}

/// A cell, as the columns take it.
enum ParquetCell<'a> {
    Raw(RawCell<'a>),
    /// Written out here: a date.
    Text(String),
}

fn value(field: &Field) -> Result<ParquetCell<'_>, String> {
    let number = RawCell::Number;
    Ok(ParquetCell::Raw(match field {
        Field::Null => RawCell::Missing,
        Field::Bool(truth) => RawCell::Truth(*truth),
        Field::Byte(x) => number(f64::from(*x)),
        Field::Short(x) => number(f64::from(*x)),
        Field::Int(x) => number(f64::from(*x)),
        Field::Long(x) => number(*x as f64),
        Field::UByte(x) => number(f64::from(*x)),
        Field::UShort(x) => number(f64::from(*x)),
        Field::UInt(x) => number(f64::from(*x)),
        Field::ULong(x) => number(*x as f64),
        Field::Float16(x) => number(f64::from(*x)),
        Field::Float(x) => number(f64::from(*x)),
        Field::Double(x) => number(*x),
        Field::Str(text) => RawCell::Quoted(text),
        Field::Date(days) => return Ok(ParquetCell::Text(date::text(i64::from(*days) * DAY, false))),
        Field::TimestampMillis(x) => return Ok(ParquetCell::Text(date::text(x.div_euclid(1000), true))),
        Field::TimestampMicros(x) => return Ok(ParquetCell::Text(date::text(x.div_euclid(1_000_000), true))),
        Field::Decimal(_) => number(field.to_string().parse().unwrap_or(f64::NAN)),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => RawCell::Quoted(text),
            Err(_) => return Err("bytes that are no text can't be a cell".to_string()),
        },
        other => {
            return Err(format!("{other} can't be a cell; a table has numbers, words, booleans and dates"));
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::table::Cell;

    fn written() -> Vec<u8> {
        let schema = "message t { optional double a; required binary word (UTF8); required boolean yes; required int32 day (DATE); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5, -2.0], Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let words = ["x", "2024-01-31", "x"].map(ByteArray::from);
        column.typed::<ByteArrayType>().write_batch(&words, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<BoolType>().write_batch(&[true, false, true], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[0, 31, 365], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn a_parquet_file_is_a_table_and_a_damaged_one_an_error() {
        let path = std::env::temp_dir().join(format!("kiln-table-{}.parquet", std::process::id()));
        let whole = written();
        std::fs::write(&path, &whole).unwrap();
        let table = Table::open(&path).unwrap();
        let kinds: Vec<ColumnKind> = table.columns().iter().map(Column::kind).collect();
        assert_eq!(kinds, [ColumnKind::Number, ColumnKind::Category, ColumnKind::Boolean, ColumnKind::Date]);
        let column = |name: &str| table.column(name).unwrap();
        assert_eq!((column("a").cell(0), column("a").cell(1)), (Cell::Number(1.5), Cell::Missing));
        assert_eq!(column("word").cell(1), Cell::Word("2024-01-31"));
        assert_eq!(column("day").cell(1).text().unwrap(), "1970-02-01");
        let told = Reading::new().kind("a", ColumnKind::Category).open(&path).unwrap();
        assert_eq!(told.column("a").unwrap().cell(0), Cell::Word("1.5"));
        assert!(Reading::new().kind("b", ColumnKind::Number).open(&path).is_err());
        for cut in [4, 20, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = Table::open(&path).unwrap_err().to_string();
            assert!(error.contains("damaged"), "{error}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
