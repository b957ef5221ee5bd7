//! What the feature `parquet` brings: Parquet files as tables, row by row of their schema. `no_parquet.rs` stands in for it where the
//! feature is off.

mod pages;

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{LogicalType, TimeType, TimeUnit, TimestampType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;

use self::pages::{ParquetBytes, ParquetFile};
use super::typed::{RowSource, TypedBlock, TypedCell, TypedRows, unfit};
use crate::archive::WholeFile;
use crate::error::{Error, Result};
use crate::table::date;
use crate::table::findings::FileFindings;

const DAY: i64 = 86_400;

/// What pandas calls an index without a name.
const INDEX: &str = "__index_level_0__";

fn broken(error: ParquetError) -> Error {
    let cause = match &error {
        ParquetError::General(message) | ParquetError::EOF(message) => message.clone(),
        ParquetError::NYI(message) => {
            return Error::new(format!("the Parquet file can't be read: {message}"));
        }
        other => other.to_string(),
    };
    Error::new(format!("the Parquet file can't be read: {cause}; it is cut off or damaged"))
}

/// What the crate `parquet` makes of bytes; where it panics, they are damaged.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    let panicked = |_| Err(Error::new("the Parquet file can't be read; it is damaged"));
    catch_unwind(AssertUnwindSafe(work)).map_or_else(panicked, |made| made.map_err(broken))
}

/// The rows of a file.
pub(super) fn rows(whole: WholeFile) -> Result<TypedRows> {
    let bytes = ParquetBytes::of(whole);
    let metadata: ParquetMetaData = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&bytes))?;
    if metadata.file_metadata().num_rows() <= 0 {
        return Err(Error::new("the table has no rows"));
    }
    let count = u64::try_from(metadata.file_metadata().num_rows()).ok();
    let fields = metadata.file_metadata().schema().get_fields().to_vec();
    let mut columns = Vec::with_capacity(fields.len());
    for field in &fields {
        let kind = match field.get_basic_info().logical_type_ref() {
            _ if !field.is_primitive() => return Err(unfit(field.name(), "lists and groups")),
            Some(LogicalType::Timestamp(TimestampType { unit: TimeUnit::NANOS, .. })) => Nanoseconds::Moments,
            Some(LogicalType::Time(TimeType { unit: TimeUnit::NANOS, .. })) => Nanoseconds::Times,
            _ => Nanoseconds::None,
        };
        columns.push(kind);
    }
    let names: Vec<String> = fields.iter().map(|field| field.name().to_string()).collect();
    let unnamed = names.iter().find(|name| *name == INDEX).cloned();
    let found = FileFindings { unnamed, ..FileFindings::default() };
    let file = ParquetFile::new(bytes, metadata);
    let rows = guarded(|| Ok(RowIter::from_file_into(Box::new(file?))))?;
    let source = ParquetRows { rows, columns, names: names.clone(), number: 0 };
    Ok(TypedRows { names, found, count, source: Box::new(source) })
}

/// What numbers of nanoseconds are, which the crate hands out as plain numbers.
#[derive(Clone, Copy)]
enum Nanoseconds {
    None,
    Moments,
    Times,
}

struct ParquetRows {
    rows: RowIter<'static>,
    columns: Vec<Nanoseconds>,
    names: Vec<String>,
    number: u64,
}

impl RowSource for ParquetRows {
    fn add(&mut self, block: &mut TypedBlock) -> Result<bool> {
        let rows = &mut self.rows;
        let Some(row) = guarded(|| rows.next().transpose())? else { return Ok(false) };
        self.number += 1;
        for ((_, field), (kind, name)) in row.get_column_iter().zip(self.columns.iter().zip(&self.names)) {
            push(block, field, *kind, name).map_err(|error| error.at_line(self.number))?;
        }
        block.rows.push(self.number);
        Ok(true)
    }
}

fn push(block: &mut TypedBlock, field: &Field, nanoseconds: Nanoseconds, name: &str) -> Result<()> {
    let cell = match field {
        Field::Null => TypedCell::Missing,
        Field::Bool(truth) => TypedCell::Truth(*truth),
        Field::Byte(x) => TypedCell::Number(f64::from(*x)),
        Field::Short(x) => TypedCell::Number(f64::from(*x)),
        Field::Int(x) => TypedCell::Number(f64::from(*x)),
        Field::Long(x) => match nanoseconds {
            Nanoseconds::None => TypedCell::Number(*x as f64),
            Nanoseconds::Moments => return moment(block, x.div_euclid(1_000_000_000)),
            Nanoseconds::Times => return time(block, x / 1_000_000_000),
        },
        Field::UByte(x) => TypedCell::Number(f64::from(*x)),
        Field::UShort(x) => TypedCell::Number(f64::from(*x)),
        Field::UInt(x) => TypedCell::Number(f64::from(*x)),
        Field::ULong(x) => TypedCell::Number(*x as f64),
        Field::Float16(x) => TypedCell::Number(f64::from(*x)),
        Field::Float(x) => TypedCell::Number(f64::from(*x)),
        Field::Double(x) => TypedCell::Number(*x),
        Field::Decimal(_) => TypedCell::Number(field.to_string().parse().unwrap_or(f64::NAN)),
        Field::Str(text) => {
            block.push_word(text);
            return Ok(());
        }
        Field::Bytes(bytes) => {
            let text =
                std::str::from_utf8(bytes.data()).map_err(|_| unfit(name, "bytes that are no text"))?;
            block.push_word(text);
            return Ok(());
        }
        Field::Date(days) => {
            block.push_word(&date::text(i64::from(*days) * DAY, false));
            return Ok(());
        }
        Field::TimestampMillis(x) => return moment(block, x.div_euclid(1000)),
        Field::TimestampMicros(x) => return moment(block, x.div_euclid(1_000_000)),
        Field::TimeMillis(x) => return time(block, i64::from(*x) / 1000),
        Field::TimeMicros(x) => return time(block, x / 1_000_000),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            return Err(unfit(name, "lists and groups"));
        }
    };
    block.cells.push(cell);
    Ok(())
}

fn moment(block: &mut TypedBlock, seconds: i64) -> Result<()> {
    // At midnight it is a day, unless others of the column have times.
    block.push_word(&date::text(seconds, seconds.rem_euclid(DAY) != 0));
    Ok(())
}

fn time(block: &mut TypedBlock, seconds: i64) -> Result<()> {
    let seconds = seconds.rem_euclid(DAY);
    block.push_word(&format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use crate::table::{Cell, Column, ColumnKind, Reading, Table};

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
