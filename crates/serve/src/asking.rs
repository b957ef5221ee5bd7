//! What a request that asks a model brings with it, and what is said to one asker at a time.

use std::sync::Arc;
use std::time::Instant;

use kiln_learn::data::{Picture, Reading, Table};
use kiln_learn::generate::GenerateOptions;
use kiln_learn::{ForecastSteps, Predictor, Preparation};
use serde_json::{Map, Value, json};

use crate::engine::{self, Engine, Speaks};
use crate::generate::Speech;
use crate::lane::WorkLane;
use crate::models::Served;
use crate::refusal::Refusal;

/// What a request may use, and until when.
#[derive(Clone, Copy)]
pub struct Asking<'s> {
    /// Places for work that isn't done in batches.
    pub lane: &'s WorkLane,
    /// Places for pictures that are being decoded.
    pub decoders: &'s WorkLane,
    /// When the answer is of no use any more.
    pub deadline: Instant,
}

impl<'s> Asking<'s> {
    /// A text that a model is to go on with.
    pub fn speech(
        &self,
        served: &'s Served,
        speaks: &'s Arc<dyn Speaks>,
        prompt: String,
        options: GenerateOptions,
    ) -> Speech<'s> {
        Speech { speaks, lane: self.lane, deadline: self.deadline, metrics: &served.metrics, prompt, options }
    }

    /// What a model says of a text or a picture, as a text: JSON of one that says something of it, the text of one that goes on.
    pub async fn alone(&self, served: &'s Served, given: Vec<u8>) -> Result<String, Refusal> {
        if let Engine::Speaks(speaks) = &served.engine {
            let prompt = text(given)?;
            let (written, _) = self.speech(served, speaks, prompt, GenerateOptions::new()).whole().await?;
            return Ok(written);
        }
        Ok(self.read(served, given).await?.to_string())
    }

    /// What a model says of a text or a picture, as an object.
    pub async fn read(&self, served: &Served, given: Vec<u8>) -> Result<Value, Refusal> {
        match &served.engine {
            Engine::Reads(reads) => {
                let (reads, text) = (reads.clone(), text(given)?);
                Ok(self.lane.run(self.deadline, move || reads.read(&text)).await??)
            }
            Engine::Sees(sees) => {
                let sees = sees.clone();
                let see = move || Ok(engine::alone(sees.predict(&[Picture::read(&given)?])?));
                self.lane.run(self.deadline, see).await?.map_err(|error: kiln_learn::Error| error.into())
            }
            Engine::Foresees(predictor) => {
                let predictor = predictor.clone();
                self.lane.run(self.deadline, move || foreseen(&predictor, &given)).await?
            }
            Engine::Speaks(_) | Engine::Batches(_) => {
                Err(Refusal::fault("the model is asked in another way"))
            }
        }
    }
}

/// What comes next in the series of a table of CSV.
fn foreseen(predictor: &Predictor, table: &[u8]) -> Result<Value, Refusal> {
    let Preparation::Forecast(plan) = &predictor.model().about().preparation else {
        return Err(Refusal::fault("the model foresees no series"));
    };
    // A long history is a good one: the bound of bodies is bound enough.
    let table = csv(&plan.reading(), table, usize::MAX)?;
    let series = |series: ForecastSteps| {
        let key: Map<String, Value> =
            plan.keys.iter().cloned().zip(series.key.into_iter().map(Value::from)).collect();
        let step = |(at, (time, number)): (usize, (String, f64))| json!({ "time": time, "prediction": number, "interval": series.bounds.get(at) });
        let steps = series.steps.into_iter().zip(series.numbers).enumerate().map(step).collect::<Vec<_>>();
        json!({ "key": key, "steps": steps, "notes": series.notes })
    };
    let all: Vec<Value> = predictor.forecast(&table)?.into_iter().map(series).collect();
    Ok(json!({ "predictions": all }))
}

/// A table of CSV, of so many rows at most. What is packed, or a workbook, is refused: it would ask for more than its bytes.
pub fn csv(reading: &Reading, body: &[u8], most: usize) -> Result<Table, Refusal> {
    let is_packed = body.starts_with(&[0x1f, 0x8b]) || body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if is_packed
        || body.iter().take(8).any(|byte| *byte < 9)
        || body.starts_with(b"PAR1")
        || body.starts_with(b"ARROW1")
    {
        return Err(Refusal::bad("the body is no CSV"));
    }
    let table = reading.read(body)?;
    few(table.len(), most)?;
    Ok(table)
}

/// Whether there are so many rows at most.
pub fn few(rows: usize, most: usize) -> Result<(), Refusal> {
    match rows > most {
        true => Err(Refusal::large(format!("{rows} rows are more than {most} at once"))),
        false => Ok(()),
    }
}

/// A text of bytes.
pub fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the text isn't UTF-8"))
}
