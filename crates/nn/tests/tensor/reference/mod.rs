//! Values and gradients computed by PyTorch (`tests/reference/`, made by the script there), against the tensor's.

mod ops;
mod several;

use std::collections::BTreeMap;
use std::path::Path;

use kiln_nn::{DType, Data, Tensor};
use serde_json::Value;

/// The operations that kiln doesn't have.
const ABSENT: [&str; 6] = [
    // No inverse trigonometry and no running product among the operations.
    "atan",
    "atan2",
    "cumprod",
    // Losses take logits, not probabilities.
    "bce",
    // Layers and optimizers are tested where they are.
    "multi_head_attention",
    "train",
];

/// Cases in which PyTorch's own gradient has constants in single precision.
const ROUGH: [&str; 2] = ["celu", "hardsigmoid"];

/// Cases in which kiln means something else: the sign of `NaN` is `NaN`.
const OTHERWISE: [&str; 1] = ["sign_special"];

/// One line of a file.
struct Case {
    name: String,
    op: String,
    params: Value,
    dtype: DType,
    names: Vec<String>,
    inputs: Vec<Tensor>,
}

impl Case {
    /// The input with this name.
    fn input(&self, name: &str) -> Option<&Tensor> {
        let position = self.names.iter().position(|other| other == name)?;
        self.inputs.get(position)
    }

    /// The input at this position.
    fn at(&self, position: usize) -> &Tensor {
        &self.inputs[position]
    }

    fn number(&self, name: &str) -> f64 {
        float(&self.params[name])
    }

    fn integer(&self, name: &str) -> isize {
        self.params[name].as_i64().unwrap_or_else(|| panic!("{}: {name}", self.name)) as isize
    }

    fn integers(&self, name: &str) -> Vec<isize> {
        let values = self.params[name].as_array().unwrap_or_else(|| panic!("{}: {name}", self.name));
        values.iter().map(|value| value.as_i64().unwrap() as isize).collect()
    }

    fn sizes(&self, name: &str) -> Vec<usize> {
        self.integers(name).into_iter().map(|value| value as usize).collect()
    }

    fn lists(&self, name: &str) -> Vec<Vec<i64>> {
        serde_json::from_value(self.params[name].clone()).unwrap()
    }

    fn flag(&self, name: &str) -> bool {
        self.params[name].as_bool().unwrap_or(false)
    }

    fn text(&self, name: &str) -> &str {
        self.params[name].as_str().unwrap_or_default()
    }

    fn is_null(&self, name: &str) -> bool {
        self.params[name].is_null()
    }
}

fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap_or_else(|| panic!("{value} isn't a number")),
    }
}

fn tensor(value: &Value, dtype: DType) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
    let numbers: Vec<f64> = value["data"].as_array().unwrap().iter().map(float).collect();
    let dtype = match value["dtype"].as_str() {
        Some("i64") => DType::I64,
        Some("bool") => DType::Bool,
        _ => dtype,
    };
    Tensor::from_data(Data::F64(numbers).cast(dtype), shape)
}

/// Where `found` is further from `expected` than `precision` allows, apart from elements of denormal numbers.
fn compare(
    found: &Tensor,
    expected: &Tensor,
    precision: DType,
    denormal: &dyn Fn(usize) -> bool,
) -> Result<(), String> {
    let read = |tensor: &Tensor| tensor.cast(DType::F64).to_vec::<f64>().map_err(|error| error.to_string());
    if found.error().is_none() && found.shape() != expected.shape() {
        return Err(format!("shape {} instead of {}", found.shape(), expected.shape()));
    }
    let (found, expected) = (read(found)?, read(expected)?);
    let allowed = if precision == DType::F64 { 2e-10 } else { 3e-5 };
    let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |largest, x| largest.max(x.abs()));
    for (position, (&a, &b)) in found.iter().zip(&expected).enumerate() {
        if denormal(position) {
            continue;
        }
        let same = a == b || (a.is_nan() && b.is_nan());
        let near = (a - b).abs() <= allowed * (b.abs() + largest.min(1.0));
        if !same && !near {
            return Err(format!("element {position} is {a} instead of {b}"));
        }
    }
    Ok(())
}

/// What is wrong with a case, if anything; `None` where kiln doesn't have its operation.
fn run(line: &Value) -> Option<Result<(), String>> {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_string();
    let dtype = if line["dtype"] == "f32" { DType::F32 } else { DType::F64 };
    let inputs = line["inputs"].as_array()?;
    let case = Case {
        name: text("name"),
        op: text("op"),
        params: line["params"].clone(),
        dtype,
        names: inputs.iter().map(|input| input["name"].as_str().unwrap_or_default().to_string()).collect(),
        inputs: inputs.iter().map(|input| tensor(input, dtype)).collect(),
    };
    if ABSENT.contains(&case.op.as_str()) || OTHERWISE.contains(&case.name.as_str()) {
        return None;
    }
    let (output, extra) = ops::compute(&case)?;
    Some(judge(line, &case, &output, &extra))
}

fn judge(line: &Value, case: &Case, output: &Tensor, extra: &BTreeMap<&str, Tensor>) -> Result<(), String> {
    let precision = if ROUGH.contains(&case.name.as_str()) { DType::F32 } else { case.dtype };
    // Devices take denormal numbers for zero.
    let x = case.at(0).to_data().map_err(|error| error.to_string())?;
    let denormal = |position| x.get(position).is_some_and(|x| x.as_f64().is_subnormal());
    let expect = |what: String, found: &Tensor, value: &Value| {
        compare(found, &tensor(value, case.dtype), precision, &denormal)
            .map_err(|problem| format!("{what}: {problem}"))
    };
    expect("value".to_string(), output, &line["output"])?;
    for value in line["extra_outputs"].as_array().into_iter().flatten() {
        let name = value["name"].as_str().unwrap_or_default();
        let found = extra.get(name).ok_or_else(|| format!("{name} isn't computed"))?;
        expect(name.to_string(), found, value)?;
    }
    if line["upstream"].is_null() {
        return Ok(());
    }
    let upstream = tensor(&line["upstream"], case.dtype);
    let gradients = output.grad_with(&upstream, &case.inputs);
    for ((value, found), name) in line["grads"].as_array().unwrap().iter().zip(&gradients).zip(&case.names) {
        if !value.is_null() {
            expect(format!("gradient of {name}"), found, value)?;
        }
    }
    Ok(())
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let (mut passed, mut absent, mut problems) = (0, Vec::new(), Vec::new());
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            match run(&line) {
                Some(Ok(())) => passed += 1,
                Some(Err(problem)) => problems.push(format!("{} ({}): {problem}", line["name"], line["op"])),
                None => absent.push(line["op"].as_str().unwrap_or_default().to_string()),
            }
        }
    }
    let unknown: Vec<_> =
        absent.iter().filter(|op| !ABSENT.contains(&op.as_str()) && *op != "sign").collect();
    assert!(unknown.is_empty(), "nothing computes {unknown:?}");
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        passed + problems.len(),
        problems.join("\n")
    );
    assert!(passed >= 300, "only {passed} cases ran");
}
