//! A part of a set.

use std::sync::Arc;

use super::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::values::Form;

/// Some rows of a set, in some order. Nothing is copied.
#[derive(Clone, Debug)]
pub struct Subset<D> {
    of: D,
    rows: Arc<[usize]>,
}

impl<D: Dataset> Subset<D> {
    /// These rows of a set.
    pub fn new(of: D, rows: Vec<usize>) -> Subset<D> {
        Subset { of, rows: rows.into() }
    }

    /// The rows' numbers in the set they are from.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn x(&self) -> Form {
        self.of.x()
    }

    fn y(&self) -> Form {
        self.of.y()
    }

    fn further(&self) -> Vec<(String, Form)> {
        self.of.further()
    }

    fn read(&self, row: usize, draw: u64, batch: &mut Batch) -> Result<()> {
        let Some(&row) = self.rows.get(row) else {
            return Err(Error::new(format!("there is no row {row}; the part has {}", self.rows.len())));
        };
        self.of.read(row, draw, batch)
    }

    fn has_lengths(&self) -> bool {
        self.of.has_lengths()
    }

    fn is_varied(&self) -> bool {
        self.of.is_varied()
    }

    fn length(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |&row| self.of.length(row))
    }

    fn is_weighted(&self) -> bool {
        self.of.is_weighted()
    }

    fn names(&self) -> &[String] {
        self.of.names()
    }

    fn labels(&self) -> Result<Vec<i64>> {
        let all = self.of.labels()?;
        self.rows
            .iter()
            .map(|&row| all.get(row).copied().ok_or_else(|| Error::new(format!("there is no row {row}"))))
            .collect()
    }
}
