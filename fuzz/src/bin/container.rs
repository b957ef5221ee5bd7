//! Tables in workbooks, archives, Parquet, Arrow and packed files: whatever is taken can be prepared, and is the same from memory once
//! more; and archives of pictures.
#![no_main]

use kiln_data::{Choices, PictureArchive, Table, TablePreparation};
use kiln_fuzz::{fuzz_target, seeds};

macro_rules! files {
    ($($name:literal),* $(,)?) => { [$(&include_bytes!(concat!("../../../tests/data/tables/", $name))[..]),*] };
}

fuzz_target!(
    init: seeds(files!(
        "pandas.xlsx", "offset.xlsx", "titled.xlsm", "one.zip", "packed.csv.zst", "packed.csv.gz", "snappy.parquet",
        "lz4.parquet", "gzip.parquet", "zstd.parquet", "coded.parquet", "polars.parquet", "lz4.feather", "zstd.feather",
        "coded.feather", "polars.arrow", "stream.arrows",
    )),
    |bytes: &[u8]| {
        if let Ok(Some(archive)) = PictureArchive::held("x.zip", bytes.to_vec()) {
            let _ = archive.files().pictures.iter().filter(|file| file.picture().is_ok()).count();
        }
        let Ok(table) = Table::read(bytes) else { return };
        assert_eq!(format!("{:?}", Table::read(bytes).unwrap().columns()), format!("{:?}", table.columns()));
        let rows: Vec<usize> = (0..table.len()).collect();
        let target = table.names().last().unwrap_or_default().to_string();
        if let Ok(plan) = TablePreparation::fit(&table, &rows, &Choices::new().target(target)) {
            let set = plan.apply(&table, &rows).unwrap();
            assert!(set.inputs().as_f32().unwrap().iter().all(|x| x.is_finite()));
        }
    }
);
