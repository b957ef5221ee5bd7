//! The next steps of series, as lines of a table or objects.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use kiln_learn::Predictor;
use kiln_learn::forecast::ForecastPreparation;
use serde_json::json;

use super::lines::quoted;
use crate::out;
use crate::reading::open;

/// Prints what comes next in the series of a table.
pub fn run(predictor: &Predictor, plan: &ForecastPreparation, inputs: &[PathBuf], json: bool) -> Result<()> {
    let [input] = inputs else {
        bail!("the model forecasts the series of a table: name one, or - for the standard input");
    };
    let table = open(&plan.reading(), input)?;
    let all = predictor.forecast(&table)?;
    all.iter().flat_map(|series| &series.notes).for_each(out::note);
    let mut out = out::RowWriter::new();
    if !json {
        let names = plan.keys.iter().map(String::as_str).chain([plan.time.as_str(), plan.target.as_str()]);
        let bounds =
            plan.bands.as_ref().map(|_| ["lower".to_string(), "upper".to_string()]).into_iter().flatten();
        let names = names.map(str::to_string).chain(bounds.map(|side| format!("{}_{side}", plan.target)));
        writeln!(out, "{}", names.map(|name| quoted(&name).into_owned()).collect::<Vec<_>>().join(","))?;
    }
    for series in &all {
        for (step, (time, number)) in series.steps.iter().zip(&series.numbers).enumerate() {
            let bounds = series.bounds.get(step);
            if json {
                let mut object = json!({});
                for (name, word) in plan.keys.iter().zip(&series.key) {
                    object[name] = word.as_str().into();
                }
                object[&plan.time] = time.as_str().into();
                object[&plan.target] = (*number).into();
                if let Some(bounds) = bounds {
                    object["bounds"] = json!(bounds);
                }
                writeln!(out, "{object}")?;
                continue;
            }
            let mut cells: Vec<String> = series.key.iter().map(|word| quoted(word).into_owned()).collect();
            cells.push(quoted(time).into_owned());
            cells.push(number.to_string());
            cells.extend(bounds.into_iter().flatten().map(f64::to_string));
            writeln!(out, "{}", cells.join(","))?;
        }
    }
    Ok(out.flush()?)
}
