//! How sure a model may be, found on rows that it didn't learn from: probabilities that come true as often as they say, sets of classes and
//! bounds of numbers that hold the truth as often as was asked.
//!
//! What puts outputs right is a layer behind the others ([`Calibration::behind`]), so that whoever asks the model, in whatever way, gets what is
//! right; the thresholds of sets stand in [`About::sets`](crate::model::About::sets).

mod choice;
mod conformal;
mod isotonic;
mod temperature;

use std::ops::Range;

use kiln_data::Dataset;
use kiln_map::counted;
use kiln_nn::Data;
use serde::Serialize;

use crate::model::{ClassSets, Model, PartMeaning, SetKind, Task, TaskPart};
use crate::store::{HostTensor, TensorFile, put_all_weights, set_weights};
use crate::{Error, Result};
use choice::{MethodChoice, crossed};
use conformal::{bounds_moved, class_sets};

/// How probabilities are put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalibrationMethod {
    /// Not at all.
    #[default]
    None,
    /// Logits are divided by one number.
    Temperature,
    /// Of two classes, the second's logit is bent by a rising line.
    Isotonic,
    /// Whichever of these lowers the log loss of rows that it wasn't found on by more than the standard error of the gain.
    Auto,
}

impl CalibrationMethod {
    /// By its name.
    ///
    /// # Errors
    /// Where there is none of it.
    pub fn named(name: &str) -> Result<CalibrationMethod> {
        match name {
            "none" => Ok(CalibrationMethod::None),
            "temperature" => Ok(CalibrationMethod::Temperature),
            "isotonic" => Ok(CalibrationMethod::Isotonic),
            "auto" => Ok(CalibrationMethod::Auto),
            other => Err(Error::Training(format!(
                "outputs are calibrated by none, temperature, isotonic or auto, not {other}"
            ))),
        }
    }
}

/// What is to be put right.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CalibrationOptions {
    /// How probabilities are.
    pub method: CalibrationMethod,
    /// Whether the bounds of intervals are moved so that they hold the share of rows that they are to hold.
    pub bounds: bool,
    /// The share of rows whose class is to be in their set, and which classes come in; nothing where sets aren't asked.
    pub sets: Option<(f64, SetKind)>,
}

impl CalibrationOptions {
    /// Whether nothing is asked of a task.
    pub fn asks_nothing(&self, task: &Task) -> bool {
        let is_asked = |part: &TaskPart| match part.meaning {
            PartMeaning::Classes(_) => self.method != CalibrationMethod::None || self.sets.is_some(),
            PartMeaning::Number { interval, .. } => self.bounds && interval.is_some(),
        };
        !task.parts().iter().any(is_asked)
    }
}

/// What a model said of rows that it didn't learn from, and what was right.
#[derive(Clone, Debug, Default)]
pub struct HeldAnswers {
    /// `[rows, outputs]`
    pub outputs: Vec<f32>,
    /// `[rows, targets]`, classes by their numbers.
    pub truths: Vec<f64>,
}

impl HeldAnswers {
    /// What a model says of a set.
    ///
    /// # Errors
    /// Where it doesn't take its rows.
    pub fn of(model: &Model, rows: &dyn Dataset) -> Result<HeldAnswers> {
        let mut held = HeldAnswers::default();
        model.predict_each(rows, |batch, outputs| {
            held.truths.extend((0..batch.y.len()).filter_map(|at| batch.y.get(at)));
            held.outputs.extend_from_slice(outputs);
            Ok(())
        })?;
        Ok(held)
    }
}

/// What was found for one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundCalibration {
    /// What is predicted; nothing where there is one target of classes.
    pub target: String,
    /// `none`, `temperature` or `isotonic` of classes, `conformal` of the bounds of a number.
    pub method: &'static str,
    /// How many rows it was found on.
    pub rows: usize,
    /// What logits are divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How much less the log loss is with it, of rows that it wasn't found on, and the standard error of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<[f64; 2]>,
    /// How far each bound moved outwards, in the deviation of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<f64>,
}

/// What puts a model's outputs right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// What each output is multiplied by,
    factors: Vec<f32>,
    /// and what is added then.
    shifts: Vec<f32>,
    /// Of one target of two classes: the line that bends the logit of the second, `[where, how high]`.
    line: Vec<[f32; 2]>,
    /// What was found for each target.
    pub found: Vec<FoundCalibration>,
    /// Which classes are in the set of a row, of each target; nothing where it isn't asked, or a target is a number.
    pub sets: Vec<Option<ClassSets>>,
    /// What a person should know, a line each.
    pub said: Vec<String>,
}

/// Fewer rows than this tell nothing of how sure a model may be.
pub const LEAST: usize = 20;

/// The outputs of one target and what is true of its rows.
struct HeldPart<'h> {
    name: &'h str,
    /// Its outputs, of which one may stand for two classes.
    places: Range<usize>,
    /// `[rows, outputs]`
    outputs: Vec<f64>,
    truths: Vec<f64>,
}

impl HeldPart<'_> {
    fn rows(&self) -> usize {
        self.truths.len()
    }

    /// Logits `[rows, classes]`, also where one tells two classes apart.
    fn logits(&self) -> (Vec<f64>, usize) {
        match self.places.len() {
            1 => (self.outputs.iter().flat_map(|&second| [0.0, second]).collect(), 2),
            classes => (self.outputs.clone(), classes),
        }
    }

    fn labels(&self) -> Vec<usize> {
        self.truths.iter().map(|&label| label as usize).collect()
    }

    /// Some of its rows alone.
    fn of(&self, rows: &[usize]) -> HeldPart<'_> {
        let width = self.places.len();
        let outputs = rows.iter().flat_map(|&row| &self.outputs[row * width..][..width]).copied();
        let truths = rows.iter().map(|&row| self.truths[row]).collect();
        HeldPart { name: self.name, places: 0..width, outputs: outputs.collect(), truths }
    }

    /// Its outputs, those of each row put right by what a method finds on the others' folds: rows to come aren't among those that it was found
    /// on either.
    fn put_right_by_others(&self, method: &str) -> Vec<f32> {
        let width = self.places.len();
        let all = crossed(self.rows(), |found, held| {
            let mut fold = Calibration::of_nothing(width);
            fold.find(&self.of(found), method);
            let mut outputs: Vec<f32> = self.of(held).outputs.iter().map(|&output| output as f32).collect();
            fold.apply(&mut outputs);
            outputs.chunks(width.max(1)).map(<[f32]>::to_vec).collect()
        });
        all.concat()
    }
}

impl Calibration {
    /// What puts the outputs of a task right, and the sets of classes that hold the truth as often as is asked.
    ///
    /// ```
    /// use kiln::calibration::{Calibration, CalibrationMethod, CalibrationOptions, HeldAnswers};
    /// use kiln::model::Task;
    ///
    /// let task = Task::Classes { names: ["no", "yes"].map(String::from).to_vec() };
    /// // Logits of 4 and -4, right in three of four rows: too sure by far.
    /// let truths: Vec<f64> = (0..400).map(|row| f64::from((row % 2 == 0) != (row % 8 < 2))).collect();
    /// let outputs = (0..400).flat_map(|row| if row % 2 == 0 { [0.0, 4.0] } else { [0.0, -4.0] }).collect();
    /// let options = CalibrationOptions { method: CalibrationMethod::Auto, ..CalibrationOptions::default() };
    /// let found = Calibration::fit(&task, &options, &HeldAnswers { outputs, truths })?;
    /// let temperature = found.found[0].temperature.unwrap();
    /// // About 4 over the logarithm of 3 to 1.
    /// assert!((temperature - 4.0 / 3f64.ln()).abs() < 0.05);
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a method or a coverage doesn't suit the task, or there are too few rows for what is asked.
    pub fn fit(task: &Task, options: &CalibrationOptions, held: &HeldAnswers) -> Result<Calibration> {
        let CalibrationOptions { method, bounds, sets } = *options;
        let parts = task.parts();
        let rows = held.truths.len() / parts.len().max(1);
        let width = held.outputs.len() / rows.max(1);
        let mut all = Calibration::of_nothing(width);
        if method == CalibrationMethod::Isotonic && !is_of_two_classes(&parts) {
            return Err(Error::Training(
                "isotonic calibration is of one target of two classes; temperature is of any".to_string(),
            ));
        }
        if sets.is_some() && !parts.iter().any(|part| matches!(part.meaning, PartMeaning::Classes(_))) {
            return Err(Error::Training(
                "sets that hold the truth are of classes; of numbers it is an interval (--interval)"
                    .to_string(),
            ));
        }
        for (at, part) in parts.iter().enumerate() {
            let places = if parts.len() == 1 { 0..width } else { part.outputs.clone() };
            let own = held.outputs.chunks(width.max(1)).filter_map(|row| row.get(places.clone())).flatten();
            let outputs = own.map(|&output| output.into()).collect();
            let truths = held.truths.iter().skip(at).step_by(parts.len()).copied().collect();
            let seen = HeldPart { name: part.name, places, outputs, truths };
            match part.meaning {
                PartMeaning::Classes(names) => {
                    let method = all.fit_classes(&seen, method)?;
                    let own =
                        sets.map(|asked| class_sets(&seen.put_right_by_others(method), &seen, names, asked));
                    all.sets.push(own.transpose()?);
                }
                PartMeaning::Number { interval, .. } => {
                    if let Some(share) = interval.filter(|_| bounds) {
                        all.fit_bounds(&seen, share);
                    }
                    all.sets.push(None);
                }
            }
        }
        Ok(all)
    }

    /// What leaves so many outputs as they are.
    fn of_nothing(width: usize) -> Calibration {
        Calibration { factors: vec![1.0; width], shifts: vec![0.0; width], ..Calibration::default() }
    }

    /// Finds what puts classes right by a method, and says the temperature if it is one.
    fn find(&mut self, seen: &HeldPart, method: &str) -> Option<f64> {
        let (logits, classes) = seen.logits();
        let labels = seen.labels();
        match method {
            "temperature" => {
                let temperature = temperature::fit(&logits, classes, &labels);
                self.factors[seen.places.clone()].fill((1.0 / temperature) as f32);
                Some(temperature)
            }
            "isotonic" => {
                self.line = isotonic::fit(&isotonic::margins(&logits), &labels);
                None
            }
            _ => None,
        }
    }

    /// Puts the classes of a target right, and says by what method.
    fn fit_classes(&mut self, seen: &HeldPart, method: CalibrationMethod) -> Result<&'static str> {
        let (logits, classes) = seen.logits();
        let labels = seen.labels();
        let of = if seen.name.is_empty() { String::new() } else { format!("{}: ", seen.name) };
        if method == CalibrationMethod::None {
            return Ok("none");
        }
        if seen.rows() < LEAST {
            let message = format!("{of}{} held out are too few to calibrate by", counted(seen.rows(), "row"));
            return match method {
                CalibrationMethod::Auto | CalibrationMethod::None => Ok("none"),
                CalibrationMethod::Temperature | CalibrationMethod::Isotonic => Err(Error::Training(message)),
            };
        }
        let choice = MethodChoice::of(&logits, classes, &labels, method);
        let temperature = self.find(seen, choice.method);
        self.found.push(FoundCalibration {
            target: seen.name.to_string(),
            method: choice.method,
            rows: seen.rows(),
            temperature,
            gain: Some(choice.gain),
            moved: None,
        });
        let [gain, error] = choice.gain;
        let measured = format!("a log loss less by {gain:.4} ± {error:.4} on rows that it wasn't found on");
        self.said.push(match (choice.method, temperature) {
            (_, Some(temperature)) => {
                format!("{of}logits are divided by {temperature:.3} (temperature): {measured}")
            }
            ("isotonic", None) => {
                format!("{of}logits are bent by a line of {} corners (isotonic): {measured}", self.line.len())
            }
            _ => format!("{of}probabilities stay as they are: by {} there is {measured}", choice.tried),
        });
        Ok(choice.method)
    }

    fn fit_bounds(&mut self, seen: &HeldPart, share: f64) {
        let Some(moved) = bounds_moved(&seen.outputs, &seen.truths, share) else {
            self.said.push(format!(
                "{}: {} held out are too few to promise that {:.4} of all lie between the bounds",
                seen.name,
                counted(seen.rows(), "row"),
                share
            ));
            return;
        };
        self.shifts[seen.places.start] -= moved as f32;
        self.shifts[seen.places.end - 1] += moved as f32;
        self.found.push(FoundCalibration {
            target: seen.name.to_string(),
            method: "conformal",
            rows: seen.rows(),
            temperature: None,
            gain: None,
            moved: Some(moved),
        });
        let way = if moved < 0.0 { "inwards" } else { "outwards" };
        self.said.push(format!(
            "{}: bounds moved {way} by {:.4} of what is learned, so that a share of {:.4} of {} held out lie between them (conformal)",
            seen.name,
            moved.abs(),
            share,
            counted(seen.rows(), "row")
        ));
    }

    /// Whether outputs stay as they are.
    pub fn changes_nothing(&self) -> bool {
        self.line.is_empty()
            && self.factors.iter().all(|factor| *factor == 1.0)
            && self.shifts.iter().all(|shift| *shift == 0.0)
    }

    /// Puts outputs right, `[rows, outputs]`.
    pub fn apply(&self, outputs: &mut [f32]) {
        for row in outputs.chunks_mut(self.factors.len().max(1)) {
            if !self.line.is_empty() {
                isotonic::bend(&self.line, row);
                continue;
            }
            let each = self.factors.iter().zip(&self.shifts);
            row.iter_mut().zip(each).for_each(|(output, (factor, shift))| *output = *output * factor + shift);
        }
    }

    /// The model with what puts its outputs right behind its layers, and with the sets of classes.
    ///
    /// # Errors
    /// Where its layers have no text, as those of a network of an ONNX file.
    pub fn behind(&self, model: &Model) -> Result<Model> {
        let mut about = model.about().clone();
        about.sets = if self.sets.iter().any(Option::is_some) { self.sets.clone() } else { Vec::new() };
        let mut store = TensorFile::default();
        put_all_weights(&mut store, model.layers())?;
        if !self.changes_nothing() {
            let place = model.layers().len();
            let (width, corners) = (self.factors.len(), self.line.len());
            let mut put = |name: &str, shape: &[usize], numbers: Vec<f32>| {
                let stored = HostTensor { shape: shape.to_vec(), data: Data::F32(numbers) };
                store.tensors.insert(format!("{place}.{name}"), stored);
            };
            let word = match corners {
                0 => {
                    put("factor", &[width], self.factors.clone());
                    put("shift", &[width], self.shifts.clone());
                    "calibrate".to_string()
                }
                _ => {
                    // The first of two outputs stays at nothing.
                    let flat = (0..corners).map(|at| [at as f32, 0.0]).collect();
                    let lines: Vec<Vec<[f32; 2]>> = match width {
                        1 => vec![self.line.clone()],
                        _ => vec![flat, self.line.clone()],
                    };
                    let of = |axis: usize| lines.iter().flatten().map(|corner| corner[axis]).collect();
                    put("corners", &[width, corners], of(0));
                    put("heights", &[width, corners], of(1));
                    format!("isotonic {corners}")
                }
            };
            about.layers = format!("{}, {word}", model.layers().to_text()?);
        }
        let model = Model::new(about.layers.parse()?, about);
        model.shape_for(1)?;
        set_weights(&store, "", model.layers())?;
        Ok(model)
    }
}

/// Whether it is one target of two classes.
fn is_of_two_classes(parts: &[TaskPart]) -> bool {
    matches!(parts, [TaskPart { meaning: PartMeaning::Classes(names), .. }] if names.len() == 2)
}

#[cfg(test)]
mod tests;
