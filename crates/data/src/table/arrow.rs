//! Record batches of Arrow as tables and back; the feature `arrow` brings it. What speaks Arrow goes through it, polars among it.
//!
//! Numbers of any width, decimals aside, are numbers; texts and dictionaries of texts are words, or missing where they say so; days and moments are dates, in whole
//! seconds and UTC. The other way numbers are `Float64`, words `Utf8`, truths `Boolean`, and dates `Date32` or `Timestamp(Second)`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampSecondArray,
};
use arrow_schema::{ArrowError, DataType, TimeUnit};

use super::column::{Cell, Cells, Column, ColumnKind, NO_DATE};
use super::raw::{FINITE, RawCell};
use super::{Table, cell};
use crate::error::{Error, Result};

const DAY: i64 = 86_400;

impl TryFrom<&RecordBatch> for Table {
    type Error = Error;

    /// A batch as a table.
    ///
    /// # Errors
    /// Where a column is of a type that no table has, such as a list, or has an infinity; the error names it.
    fn try_from(batch: &RecordBatch) -> Result<Table> {
        Table::try_from(std::slice::from_ref(batch))
    }
}

impl TryFrom<&[RecordBatch]> for Table {
    type Error = Error;

    /// Batches of one schema, one after the other, as a table.
    ///
    /// # Errors
    /// Where there is none, their schemas differ, or a column is of a type that no table has or has an infinity.
    fn try_from(batches: &[RecordBatch]) -> Result<Table> {
        let Some(first) = batches.first() else { return Err(Error::new("no record batch makes no table")) };
        if batches.iter().any(|batch| batch.schema().fields() != first.schema().fields()) {
            return Err(Error::new("the record batches have different schemas"));
        }
        let schema = first.schema();
        let column = |(place, field): (usize, &Arc<arrow_schema::Field>)| {
            let arrays: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(place)).collect();
            column(field.name(), field.data_type(), &arrays).map_err(|error| error.in_column(field.name()))
        };
        Table::new(schema.fields().iter().enumerate().map(column).collect::<Result<_>>()?)
    }
}

fn column(name: &str, kind: &DataType, arrays: &[&ArrayRef]) -> Result<Column> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let numbers = |values: Vec<f64>| match values.iter().enumerate().find(|(_, value)| value.is_infinite()) {
        Some((row, value)) => {
            Err(Error::new(format!("row {}: {}", row + 1, RawCell::Number(*value).isnt(FINITE))))
        }
        None => Ok(Column::numbers(name, values)),
    };
    let days = |seconds: Vec<i64>| Ok(dates(name, seconds, false));
    let moments = |seconds: Vec<i64>| Ok(dates(name, seconds, true));
    match kind {
        DataType::Null => {
            let rows = arrays.iter().map(|array| array.len()).sum();
            Ok(Column::of(name.to_string(), Cells::Missing(rows), None))
        }
        DataType::Int8 => numbers(values::<Int8Type, _>(arrays, f64::NAN, f64::from)),
        DataType::Int16 => numbers(values::<Int16Type, _>(arrays, f64::NAN, f64::from)),
        DataType::Int32 => numbers(values::<Int32Type, _>(arrays, f64::NAN, f64::from)),
        DataType::Int64 => numbers(values::<Int64Type, _>(arrays, f64::NAN, |number| number as f64)),
        DataType::UInt8 => numbers(values::<UInt8Type, _>(arrays, f64::NAN, f64::from)),
        DataType::UInt16 => numbers(values::<UInt16Type, _>(arrays, f64::NAN, f64::from)),
        DataType::UInt32 => numbers(values::<UInt32Type, _>(arrays, f64::NAN, f64::from)),
        DataType::UInt64 => numbers(values::<UInt64Type, _>(arrays, f64::NAN, |number| number as f64)),
        DataType::Float16 => numbers(values::<Float16Type, _>(arrays, f64::NAN, f64::from)),
        DataType::Float32 => numbers(values::<Float32Type, _>(arrays, f64::NAN, f64::from)),
        DataType::Float64 => numbers(values::<Float64Type, _>(arrays, f64::NAN, |number| number)),
        DataType::Date32 => days(values::<Date32Type, _>(arrays, NO_DATE, |day| i64::from(day) * DAY)),
        DataType::Date64 => days(values::<Date64Type, _>(arrays, NO_DATE, |ms| ms.div_euclid(1000))),
        DataType::Timestamp(Second, _) => {
            moments(values::<TimestampSecondType, _>(arrays, NO_DATE, |seconds| seconds))
        }
        DataType::Timestamp(Millisecond, _) => {
            moments(values::<TimestampMillisecondType, _>(arrays, NO_DATE, |ms| ms.div_euclid(1000)))
        }
        DataType::Timestamp(Microsecond, _) => {
            moments(values::<TimestampMicrosecondType, _>(arrays, NO_DATE, |us| us.div_euclid(1_000_000)))
        }
        DataType::Timestamp(Nanosecond, _) => {
            moments(values::<TimestampNanosecondType, _>(arrays, NO_DATE, |ns| ns.div_euclid(1_000_000_000)))
        }
        DataType::Boolean => {
            let words = arrays.iter().flat_map(|array| array.as_boolean().iter());
            let words = words.map(|truth| truth.map(|truth| if truth { "true" } else { "false" }));
            Ok(Column::words(name, words).of_kind(ColumnKind::Boolean))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Ok(Column::words(name, arrays.iter().flat_map(|array| texts(array))))
        }
        DataType::Dictionary(_, of)
            if matches!(**of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            Ok(Column::words(name, arrays.iter().flat_map(|array| coded(array))))
        }
        other => Err(unfit(other)),
    }
}

fn unfit(kind: &DataType) -> Error {
    Error::new(format!(
        "a column of {kind} can't be in a table, which has numbers, words, booleans and dates"
    ))
}

fn values<T: ArrowPrimitiveType, V: Copy>(
    arrays: &[&ArrayRef],
    missing: V,
    value: impl Fn(T::Native) -> V,
) -> Vec<V> {
    let all = arrays.iter().flat_map(|array| array.as_primitive::<T>().iter());
    all.map(|one| one.map_or(missing, &value)).collect()
}

fn dates(name: &str, seconds: Vec<i64>, timed: bool) -> Column {
    Column::of(name.to_string(), Cells::Dates { seconds, timed }, Some(ColumnKind::Date))
}

/// The texts of an array of them, settled as a row's are, so that both become the same inputs.
fn texts<'a>(array: &'a ArrayRef) -> Box<dyn Iterator<Item = Option<&'a str>> + 'a> {
    let settled = |text: Option<&'a str>| match RawCell::Text(text?).settled() {
        RawCell::Text(text) => Some(text),
        _ => None,
    };
    match array.data_type() {
        DataType::LargeUtf8 => Box::new(array.as_string::<i64>().iter().map(settled)),
        DataType::Utf8View => Box::new(array.as_string_view().iter().map(settled)),
        _ => Box::new(array.as_string::<i32>().iter().map(settled)),
    }
}

/// The texts of a dictionary's rows. They stay where they are in the dictionary.
fn coded(array: &ArrayRef) -> impl Iterator<Item = Option<&str>> {
    let dictionary = array.as_any_dictionary();
    let words: Vec<Option<&str>> = texts(dictionary.values()).collect();
    // Without a word there are no keys either: `normalized_keys` panics, and all rows are missing.
    let keys = if words.is_empty() { vec![0; array.len()] } else { dictionary.normalized_keys() };
    let word = move |(row, key)| words.get(key).copied().flatten().filter(|_| !array.is_null(row));
    keys.into_iter().enumerate().map(word)
}

impl TryFrom<&Table> for RecordBatch {
    type Error = ArrowError;

    /// A table as a batch, in which each column may have missing values.
    fn try_from(table: &Table) -> std::result::Result<RecordBatch, ArrowError> {
        let array = |column: &Column| -> ArrayRef {
            let cells = || (0..column.len()).map(|row| column.cell(row));
            let seconds = |cell: Cell| match cell {
                Cell::Date { seconds, .. } => Some(seconds),
                _ => None,
            };
            match (column.kind(), column.cells()) {
                (ColumnKind::Number, _) => Arc::new(cells().map(Cell::number).collect::<Float64Array>()),
                (ColumnKind::Boolean, _) => {
                    let truth = |cell: Cell| cell.text().and_then(|word| cell::truth(&word));
                    Arc::new(cells().map(truth).collect::<BooleanArray>())
                }
                (ColumnKind::Date, Cells::Dates { timed: true, .. }) => {
                    Arc::new(cells().map(seconds).collect::<TimestampSecondArray>())
                }
                (ColumnKind::Date, _) => {
                    let day =
                        |cell| seconds(cell).and_then(|seconds| i32::try_from(seconds.div_euclid(DAY)).ok());
                    Arc::new(cells().map(day).collect::<Date32Array>())
                }
                (ColumnKind::Category, _) => Arc::new(cells().map(Cell::text).collect::<StringArray>()),
            }
        };
        let columns = table.columns().iter();
        RecordBatch::try_from_iter_with_nullable(columns.map(|column| (column.name(), array(column), true)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        DictionaryArray, Float16Array, Float32Array, Int32Array, Int64Array, LargeStringArray, ListArray,
        StringViewArray, UInt8Array,
    };
    use half::f16;

    use super::*;
    use crate::{Choices, TablePreparation, Treatment};

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn columns_of_every_kind_come_and_go() {
        let date = |days: Vec<Option<i32>>| Arc::new(Date32Array::from(days));
        let batch = batch(vec![
            ("f64", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
            ("f16", Arc::new(Float16Array::from(vec![f16::from_f32(0.5), f16::from_f32(-2.0)]))),
            ("i64", Arc::new(Int64Array::from(vec![-7, 1 << 40]))),
            ("u8", Arc::new(UInt8Array::from(vec![Some(255), None]))),
            ("truth", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("größe"), None]))),
            ("large", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
            ("view", Arc::new(StringViewArray::from(vec!["a", "2024-01-31"]))),
            ("coded", Arc::new(vec![Some("x"), None].into_iter().collect::<DictionaryArray<Int32Type>>())),
            ("day", date(vec![Some(31), None])),
            ("moment", Arc::new(TimestampSecondArray::from(vec![Some(-1), None]))),
        ]);
        let table = Table::try_from(&batch).unwrap();
        let cell = |name: &str, row| table.column(name).unwrap().cell(row);
        let kind = |name: &str| table.column(name).unwrap().kind();
        assert_eq!((cell("f64", 0), cell("f64", 1)), (Cell::Number(1.5), Cell::Missing));
        assert_eq!((cell("f16", 1), cell("i64", 1)), (Cell::Number(-2.0), Cell::Number((1u64 << 40) as f64)));
        assert_eq!((cell("u8", 0), cell("u8", 1)), (Cell::Number(255.0), Cell::Missing));
        assert_eq!((kind("truth"), cell("truth", 0)), (ColumnKind::Boolean, Cell::Word("true")));
        assert_eq!((cell("text", 0), cell("text", 1)), (Cell::Word("größe"), Cell::Missing));
        // What Arrow says is a text stays one.
        assert_eq!((kind("view"), cell("view", 1)), (ColumnKind::Category, Cell::Word("2024-01-31")));
        assert_eq!((cell("coded", 0), cell("coded", 1)), (Cell::Word("x"), Cell::Missing));
        assert_eq!(cell("day", 0).text().unwrap(), "1970-02-01");
        assert_eq!(cell("moment", 0), Cell::Date { seconds: -1, timed: true });
        let again = RecordBatch::try_from(&table).unwrap();
        let types: Vec<&DataType> = again.columns().iter().map(|column| column.data_type()).collect();
        let moment = DataType::Timestamp(TimeUnit::Second, None);
        let (number, text) = (DataType::Float64, DataType::Utf8);
        let expected = [
            &number,
            &number,
            &number,
            &number,
            &DataType::Boolean,
            &text,
            &text,
            &text,
            &text,
            &DataType::Date32,
            &moment,
        ];
        assert_eq!(types, expected);
        let twice = Table::try_from(&again).unwrap();
        // NaN stands for what is missing, and equals nothing.
        assert_eq!(format!("{:?}", twice.columns()), format!("{:?}", table.columns()));
    }

    #[test]
    fn batches_follow_each_other_and_those_that_differ_are_refused() {
        let one = batch(vec![("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]);
        let two = batch(vec![("a", Arc::new(StringArray::from(vec!["y", "x"])) as ArrayRef)]);
        let table = Table::try_from(&[one.clone(), two][..]).unwrap();
        assert_eq!((table.len(), table.column("a").unwrap().cell(2)), (3, Cell::Word("x")));
        let other = batch(vec![("b", Arc::new(StringArray::from(vec!["y"])) as ArrayRef)]);
        assert!(Table::try_from(&[one, other][..]).unwrap_err().to_string().contains("schemas"));
        assert!(Table::try_from(&[][..]).is_err());
    }

    #[test]
    fn a_dictionary_may_lack_words() {
        let none = |rows: usize| {
            let keys = std::iter::repeat_n(None::<&str>, rows);
            Arc::new(keys.collect::<DictionaryArray<Int32Type>>()) as ArrayRef
        };
        for rows in [0, 2] {
            let table = Table::try_from(&batch(vec![("coded", none(rows))]));
            let table = table.unwrap();
            assert_eq!(table.len(), rows);
            assert!((0..rows).all(|row| table.column("coded").unwrap().cell(row) == Cell::Missing));
        }
        // A word of its own that is missing, a key that is, and a batch with words after one without.
        let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
        let values = Arc::new(StringViewArray::from(vec![None, Some("x")]));
        let some = Arc::new(DictionaryArray::new(keys, values));
        let kind = some.data_type().clone();
        let empty = arrow_array::new_null_array(&kind, 1);
        let table =
            Table::try_from(&[batch(vec![("a", empty)]), batch(vec![("a", some as ArrayRef)])][..]).unwrap();
        let cells: Vec<Cell> = (0..4).map(|row| table.column("a").unwrap().cell(row)).collect();
        assert_eq!(cells, [Cell::Missing, Cell::Word("x"), Cell::Missing, Cell::Missing]);
        let numbers = DictionaryArray::new(Int32Array::from(vec![0]), Arc::new(Int64Array::from(vec![7])));
        let error = Table::try_from(&batch(vec![("a", Arc::new(numbers) as ArrayRef)])).unwrap_err();
        assert!(error.to_string().contains("column a") && error.to_string().contains("Int64"), "{error}");
    }

    #[test]
    fn an_infinity_is_refused_as_it_is_in_a_file() {
        let all: [ArrayRef; 3] = [
            Arc::new(Float64Array::from(vec![1.0, f64::INFINITY])),
            Arc::new(Float32Array::from(vec![1.0, f32::NEG_INFINITY])),
            Arc::new(Float16Array::from(vec![f16::ONE, f16::INFINITY])),
        ];
        for array in all {
            let error = Table::try_from(&batch(vec![("speed", array)])).unwrap_err().to_string();
            assert!(error.contains("column speed") && error.contains("row 2"), "{error}");
            assert!(error.contains("is no finite number"), "{error}");
        }
    }

    /// Words of any array of texts become the inputs that they become in a row.
    #[test]
    fn words_are_settled_as_in_a_row() {
        let words = ["NA", "x", " x ", "", "None", "y", "NA", "x", "y", " "];
        let missing = [true, false, false, true, true, false, true, false, false, true];
        let arrays: [ArrayRef; 4] = [
            Arc::new(StringArray::from(words.to_vec())),
            Arc::new(LargeStringArray::from(words.to_vec())),
            Arc::new(StringViewArray::from(words.to_vec())),
            Arc::new(words.into_iter().collect::<DictionaryArray<Int32Type>>()),
        ];
        for array in arrays {
            let table = Table::try_from(&batch(vec![("word", array)])).unwrap();
            let cells = (0..words.len()).map(|row| table.column("word").unwrap().cell(row) == Cell::Missing);
            assert_eq!(cells.collect::<Vec<_>>(), missing);
            for treatment in [Treatment::OneHot, Treatment::Codes] {
                let choices = Choices::new().treat("word", treatment);
                let rows: Vec<usize> = (0..words.len()).collect();
                let plan = TablePreparation::fit(&table, &rows, &choices).unwrap();
                let (whole, single) = (plan.apply_inputs(&table).unwrap(), plan.row_plan().unwrap());
                let mut inputs = vec![f32::NAN; whole.width];
                for (word, expected) in words.into_iter().zip(whole.values.chunks(whole.width)) {
                    single.encode(&single.cells([("word", word)]).unwrap(), &mut inputs).unwrap();
                    assert_eq!(inputs, expected, "{word:?}");
                }
            }
        }
    }

    #[test]
    fn a_column_that_no_table_has_is_named() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
        let error =
            Table::try_from(&batch(vec![("many", Arc::new(list) as ArrayRef)])).unwrap_err().to_string();
        assert!(error.contains("column many") && error.contains("List"), "{error}");
    }
}
