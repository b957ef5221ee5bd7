//! A network compared with what another program computed with it: recorded inputs and outputs, as ONNX's own tests keep them.

use std::fmt;
use std::path::{Path, PathBuf};

use kiln_ir::DType;

use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::network::{Network, Port};
use crate::proto::type_proto;
use crate::read::value_file;
use crate::value::Value;

/// How an output compares with what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The output's name.
    pub name: String,
    /// What is wrong, if something is.
    pub fault: Option<String>,
    /// The largest difference of two numbers.
    pub largest: f64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => write!(f, "{}: equal, the largest difference is {:.3e}", self.name, self.largest),
            Some(fault) => write!(f, "{}: {fault}", self.name),
        }
    }
}

/// How near numbers must be: `|a − b| ≤ absolute + relative · |b| + largest · max |b|`; floats of 16 bits to two of their last bits.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// In proportion to the number.
    pub relative: f64,
    /// Whatever the number.
    pub absolute: f64,
    /// In proportion to the largest number of the output, where that holds floats, or bytes, as quantised networks give them. Other whole
    /// numbers are indices and codes, for which near is wrong.
    pub largest: f64,
}

/// The tolerance of ONNX's own tests of operators.
impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { relative: 1e-3, absolute: 1e-7, largest: 0.0 }
    }
}

impl Tolerance {
    /// The tolerance for networks of many layers: what rounding adds up to is in proportion to the largest number of an output, and
    /// may be all that is left of a small one.
    pub fn of_largest(share: f64) -> Tolerance {
        Tolerance { relative: 0.0, absolute: 1e-3 * share, largest: share }
    }
}

/// The folders of recorded data in a folder, in order: `test_data_set_0`, …; or the folder itself.
///
/// # Errors
/// Where there are none.
pub fn data_sets(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_set = |path: &PathBuf| {
        path.is_dir()
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("test_data_set_"))
    };
    let entries = std::fs::read_dir(folder).map_err(Error::file(folder))?;
    let mut sets: Vec<PathBuf> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_set).collect();
    sets.sort();
    if sets.is_empty() && folder.join("output_0.pb").exists() {
        sets.push(folder.to_path_buf());
    }
    if sets.is_empty() {
        return Err(Error::format(folder, "there is no test_data_set_0 in it, and no output_0.pb"));
    }
    Ok(sets)
}

/// The files `kind_0.pb`, `kind_1.pb`, … of a set.
fn values(
    set: &Path,
    kind: &str,
    ports: &[Port],
    types: &[Option<&type_proto::Value>],
) -> Result<Vec<Value>> {
    let is_tensor = |at: usize| matches!(types.get(at), Some(Some(type_proto::Value::TensorType(_))));
    let unknown = |(at, port): &(usize, &Port)| port.element.is_none() && is_tensor(*at);
    if let Some((_, port)) = ports.iter().enumerate().find(unknown) {
        return Err(Error::Unsupported(format!("{kind} {} is no tensor of a known type", port.name)));
    }
    let file = |number: usize| Some(set.join(format!("{kind}_{number}.pb"))).filter(|path| path.exists());
    let read = |(at, path): (usize, PathBuf)| value_file(&path, types.get(at).copied().flatten());
    (0..).map_while(file).enumerate().map(read).collect()
}

/// Runs a network on a set's inputs and compares what comes out with its outputs.
///
/// # Errors
/// Where the files can't be read, or the network can't run.
pub fn verify(network: &Network, set: &Path, tolerance: Tolerance) -> Result<Vec<Comparison>> {
    let [taken, given] = network.types();
    let outputs = network.compute(values(set, "input", &network.inputs(), &taken)?)?;
    let expected = values(set, "output", &network.outputs(), &given)?;
    if expected.len() > outputs.len() {
        let message =
            format!("{} outputs are recorded, and the network gives {}", expected.len(), outputs.len());
        return Err(Error::format(set, message));
    }
    let ports = network.outputs();
    let name = |at: usize| ports.get(at).map_or_else(|| at.to_string(), |port| port.name.clone());
    let mut comparisons = Vec::new();
    for (at, (own, expected)) in outputs.iter().zip(&expected).enumerate() {
        comparisons.push(compare(name(at), own, expected, tolerance)?);
    }
    Ok(comparisons)
}

/// Compares a value with what it should be.
///
/// # Errors
/// Where it can't be computed.
pub fn compare(name: String, own: &Value, expected: &Value, tolerance: Tolerance) -> Result<Comparison> {
    let fault =
        |fault: String| Ok(Comparison { name: name.clone(), fault: Some(fault), largest: f64::INFINITY });
    match (own, expected) {
        (Value::Nothing, Value::Nothing) => return Ok(Comparison { name, fault: None, largest: 0.0 }),
        (Value::List(own), Value::List(expected)) => {
            if own.len() != expected.len() {
                return fault(format!("it has {} values and should have {}", own.len(), expected.len()));
            }
            let mut all = Comparison { name: name.clone(), fault: None, largest: 0.0 };
            for (at, (own, expected)) in own.iter().zip(expected.iter()).enumerate() {
                let one = compare(format!("{name}[{at}]"), own, expected, tolerance)?;
                all.largest = all.largest.max(one.largest);
                all.fault = all.fault.or(one.fault);
            }
            return Ok(all);
        }
        _ => {}
    }
    if own.shape() != expected.shape() {
        return fault(format!("the shape is {:?} and should be {:?}", own.shape(), expected.shape()));
    }
    if own.element() != expected.element() {
        return fault(format!(
            "the type is {} and should be {}",
            own.element().name(),
            expected.element().name()
        ));
    }
    let element = expected.element();
    let (own, expected) = match (own, expected) {
        (Value::Numbers(own, _), Value::Numbers(expected, _)) => {
            (own.cast(DType::F64).to_vec::<f64>()?, expected.cast(DType::F64).to_vec::<f64>()?)
        }
        (Value::Texts(own, _), Value::Texts(expected, _)) => {
            return match own.iter().zip(expected.iter()).position(|(a, b)| a != b) {
                None => Ok(Comparison { name, fault: None, largest: 0.0 }),
                Some(at) => fault(format!("text {at} is \"{}\" and should be \"{}\"", own[at], expected[at])),
            };
        }
        _ => return fault("it isn't of the kind it should be".to_string()),
    };
    // What was recorded of narrow floats was rounded at each step, and is right to two of its last bits.
    let last_bits = match element {
        OnnxDType::Bf16 => libm::ldexp(1.0, -6),
        OnnxDType::F16 => libm::ldexp(1.0, -9),
        _ => 0.0,
    };
    let relative = tolerance.relative.max(last_bits);
    let sizes = expected.iter().filter(|number| number.is_finite()).map(|number| number.abs());
    let most = sizes.fold(0.0, f64::max);
    let absolute = match element {
        OnnxDType::U8 | OnnxDType::I8 => tolerance.absolute + tolerance.largest * most,
        element if element.is_float() => tolerance.absolute + tolerance.largest.max(last_bits) * most,
        _ => tolerance.absolute,
    };
    let mut largest = 0.0f64;
    let mut first = None;
    let mut wrong = 0;
    for (at, (a, b)) in own.iter().zip(&expected).enumerate() {
        let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= absolute + relative * b.abs();
        if !near {
            wrong += 1;
            first.get_or_insert(at);
        }
        if a != b && (a - b).is_finite() {
            largest = largest.max((a - b).abs());
        }
    }
    match first {
        None => Ok(Comparison { name, fault: None, largest }),
        Some(at) => {
            let shown = format!(
                "{wrong} of {} numbers differ; the first at {at} is {} and should be {}; the largest difference is {largest:.3e}, of numbers up to {most:.3e}",
                own.len(),
                own[at],
                expected[at]
            );
            Ok(Comparison { name, fault: Some(shown), largest })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_ir::Data;

    fn judged(own: &[f64], expected: &[f64], element: OnnxDType, tolerance: Tolerance) -> bool {
        let value = |numbers: &[f64]| {
            let data = Data::F64(numbers.to_vec()).cast(element.dtype().unwrap());
            Value::new(data, &[numbers.len()], element)
        };
        compare("y".to_string(), &value(own), &value(expected), tolerance).unwrap().fault.is_none()
    }

    /// What rounding adds up to is nothing beside the largest number, and all there is of the smallest.
    #[test]
    fn a_network_is_judged_by_its_largest_number() {
        let expected = [-3.0, 1e-7, 0.0];
        for (own, element, fits) in [
            ([-3.0001, 5e-5, -1e-5], OnnxDType::F32, true),
            ([-3.001, 1e-7, 0.0], OnnxDType::F32, false),
            ([-3.0, f64::NAN, 0.0], OnnxDType::F32, false),
            ([-3.0, f64::INFINITY, 0.0], OnnxDType::F32, false),
            ([-3.004, 1e-7, 0.0], OnnxDType::F16, true),
            ([-3.1, 1e-7, 0.0], OnnxDType::F16, false),
        ] {
            let tolerance = Tolerance::of_largest(1e-4);
            assert_eq!(judged(&own, &expected, element, tolerance), fits, "{own:?} {element:?}");
            assert!(!judged(&own, &[0.0; 3], element, tolerance));
        }
        // By ONNX's own rule for operators the same network fails.
        assert!(!judged(&[-3.0, 5e-5, 0.0], &expected, OnnxDType::F32, Tolerance::default()));
        assert!(judged(&[-3.0, 5e-5, 0.0], &expected, OnnxDType::F32, Tolerance::of_largest(1e-4)));
        // Steps of quantised numbers are near each other where that is told; indices never are.
        let (own, expected) = ([200.0, 31.0], [200.0, 30.0]);
        assert!(!judged(&own, &expected, OnnxDType::U8, Tolerance::of_largest(1e-4)));
        assert!(judged(&own, &expected, OnnxDType::U8, Tolerance::of_largest(3e-2)));
        assert!(!judged(&own, &expected, OnnxDType::I64, Tolerance::of_largest(3e-2)));
        assert!(judged(
            &[f64::NAN, f64::INFINITY],
            &[f64::NAN, f64::INFINITY],
            OnnxDType::F32,
            Tolerance::of_largest(0.0)
        ));
    }
}
