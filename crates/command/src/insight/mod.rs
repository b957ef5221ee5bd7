//! What a person should know of a model before trusting it: how often its sets and bounds hold, how sure it may be, where it is worst, and how
//! what it says goes with a column. Everything that the report shows of that stands in result.json.

mod coverage;
mod dependence;
mod group;
mod slices;

use std::time::{Duration, Instant};

use anyhow::Result;
use kiln_learn::Model;
use kiln_learn::data::{Dataset, Table, TablePreparation};
use kiln_learn::model::About;
use serde_json::{Value, json};

use super::importance::Importances;
use super::measure::Measured;
pub use coverage::{CalibrationBin, SharedCoverage, TargetCoverage};
pub use dependence::{Dependence, DependencePlace, Interaction};
use group::groups;
pub use slices::WorstSlice;

/// What was found.
#[derive(Default)]
pub struct Insight {
    /// Of each target with sets or bounds.
    pub coverage: Vec<TargetCoverage>,
    /// Of each target of classes, by how sure the model is.
    pub calibration: Vec<(String, Vec<CalibrationBin>)>,
    /// Where the model is worst, the worst first.
    pub slices: Vec<WorstSlice>,
    /// What the model says by the columns that matter most.
    pub dependences: Vec<Dependence>,
    /// How much more two of them say together.
    pub interactions: Vec<Interaction>,
}

/// The rows of the test part.
pub struct TestedRows<'t> {
    /// How they became inputs.
    pub plan: &'t TablePreparation,
    pub test: &'t dyn Dataset,
    /// The table that they are of, and which of its rows they are, where it is held.
    pub table: Option<(&'t Table, &'t [usize])>,
}

/// The share of the time for what comes after a training that is for this.
const SHARE: f64 = 0.5;

impl Insight {
    /// Of a model on the test part, `measured` of its first rows; `limit` is what importances may take.
    pub fn measure(
        (model, about): (&Model, &About),
        rows: &TestedRows,
        measured: &Measured,
        importances: Option<&Importances>,
        limit: Duration,
        say: impl Fn(&str),
    ) -> Result<Insight> {
        let began = Instant::now();
        let limit = limit.mul_f64(SHARE);
        let TestedRows { plan, test, table } = rows;
        let groups = match table {
            Some((table, rows)) => groups(table, rows.get(..measured.rows()).unwrap_or(rows), plan),
            None => Vec::new(),
        };
        let mut insight = Insight {
            coverage: coverage::of(about, &measured.of, &groups),
            calibration: coverage::calibration(&measured.of),
            slices: slices::worst(&measured.of, &groups),
            ..Insight::default()
        };
        let first: Vec<&str> = importances.map_or(Vec::new(), Importances::names);
        let found = dependence::measure((model, &about.task), plan, *test, &first, (began, limit))?;
        (insight.dependences, insight.interactions) = found;
        if began.elapsed() >= limit {
            say("what the model says by single columns was looked at as far as there was time");
        }
        Ok(insight)
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let calibration =
            self.calibration.iter().map(|(target, bins)| json!({ "target": target, "bins": bins }));
        json!({
            "coverage": self.coverage, "calibration": calibration.collect::<Vec<_>>(), "worst_slices": self.slices,
            "partial_dependence": self.dependences, "interactions": self.interactions,
        })
    }
}

/// Between what a share of so many rows lies in 95 of 100 cases (Wilson's interval).
fn share_interval(found: usize, rows: usize) -> [f64; 2] {
    const Z: f64 = 1.959_964;
    let n = rows.max(1) as f64;
    let share = found as f64 / n;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::share_interval;

    #[test]
    fn shares_have_wilsons_interval() {
        // statsmodels' proportion_confint(8, 10, method="wilson").
        let [low, high] = share_interval(8, 10);
        assert!((low - 0.490_162_4).abs() < 1e-6 && (high - 0.943_317_8).abs() < 1e-6, "{low} {high}");
        assert_eq!(share_interval(0, 10)[0], 0.0);
    }
}
