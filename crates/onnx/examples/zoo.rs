//! Runs folders of networks with recorded data two ways, each with a line: its name, how it went, and why.
//!
//! First as `kiln import --verify` does, with the recorded inputs as constants; then traced, with inputs that are known only when it
//! runs, compiled and run: this is what a model or a step does. Times are those of the second way.
//! `cargo run --release --example zoo -- FOLDER…`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use kiln_ir::Data;
use kiln_nn::{Context, Function, Input, Tensor};
use kiln_onnx::verify::{Tolerance, compare, data_sets, verify};
use kiln_onnx::{Error, Network, Value, load, tensor_file};

/// Networks of many layers differ by what rounding adds up to: in proportion to the largest number of an output.
const NEAR: f64 = 1e-4;

fn recorded(set: &Path, kind: &str) -> Result<Vec<Value>, Error> {
    let file = |number: usize| Some(set.join(format!("{kind}_{number}.pb"))).filter(|path| path.exists());
    (0..).map_while(file).map(|path| tensor_file(&path)).collect()
}

/// How much of the largest number rounding may be: what is quantised goes to the next step here or there.
fn near(name: &str) -> f64 {
    match name {
        name if ["-qdq", "-qoperator", "-dynamic"].iter().any(|kind| name.contains(kind)) => 3e-2,
        name if name.contains("-half") => 5e-3,
        _ => NEAR,
    }
}

struct Times {
    trace: Duration,
    first: Duration,
    again: Duration,
}

/// Computed with inputs that aren't known while it is traced.
fn traced(network: &Network, inputs: &[Value]) -> Result<(Vec<Value>, Times), Error> {
    let data: Vec<Data> =
        inputs.iter().map(|input| input.constant().unwrap_or(Data::F32(Vec::new()))).collect();
    let shapes: Vec<Vec<usize>> = inputs.iter().map(Value::shape).collect();
    let given: Vec<Input> =
        data.iter().zip(&shapes).map(|(data, shape)| Input::from_data(data, shape)).collect();
    let elements: Vec<_> = inputs.iter().map(Value::element).collect();
    let (mut fault, mut ports, mut trace) = (None, Vec::new(), Duration::ZERO);
    let mut function = Function::many(|x| {
        let start = Instant::now();
        let values =
            x.iter().zip(&elements).map(|(x, element)| Value::Numbers(x.clone(), *element)).collect();
        let outputs = network.run(values, &Context::inference()).unwrap_or_else(|error| {
            fault = Some(error);
            vec![Value::of(Tensor::from(0.0))]
        });
        ports = outputs.iter().map(|output| (output.shape(), output.element())).collect();
        trace = start.elapsed();
        outputs
            .iter()
            .filter_map(|output| match output {
                Value::Numbers(tensor, _) => Some(tensor.clone()),
                _ => None,
            })
            .collect()
    });
    let start = Instant::now();
    function.run(&given)?;
    let first = start.elapsed();
    let start = Instant::now();
    let out: Vec<Data> = function.run(&given)?.to_vec();
    let again = start.elapsed();
    drop(function);
    match fault {
        Some(error) => Err(error),
        None => Ok((
            out.into_iter()
                .zip(ports)
                .map(|(data, (shape, element))| Value::new(data, &shape, element))
                .collect(),
            Times { trace, first, again },
        )),
    }
}

fn run(folder: &Path) -> Result<(Option<String>, String), Error> {
    let start = Instant::now();
    let tolerance = Tolerance::of_largest(near(&folder.to_string_lossy()));
    let network = load(folder.join("model.onnx"))?;
    let loading = start.elapsed();
    let mut said = String::new();
    for set in data_sets(folder)? {
        let expected = recorded(&set, "output")?;
        let start = Instant::now();
        let compared = verify(&network, &set, tolerance)?;
        let verifying = start.elapsed();
        if let Some(compared) = compared.into_iter().find(|compared| compared.fault.is_some()) {
            return Ok((Some(compared.to_string()), said));
        }
        let inputs = recorded(&set, "input")?;
        if inputs.iter().chain(&expected).any(|value| matches!(value, Value::Texts(..))) {
            return Ok((None, "texts: not traced".to_string()));
        }
        let (out, times) = match traced(&network, &inputs) {
            Ok(out) => out,
            // What follows from numbers runs part by part, as it just did.
            Err(Error::Network(what) | Error::Unsupported(what))
                if what.contains("known only when it runs") =>
            {
                let start = Instant::now();
                network.compute(inputs)?;
                said = format!("part by part, again {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
                continue;
            }
            Err(error) => return Ok((Some(format!("traced: {error}")), said)),
        };
        for (at, (own, expected)) in out.iter().zip(&expected).enumerate() {
            let compared = compare(format!("output {at}"), own, expected, tolerance)?;
            if compared.fault.is_some() {
                return Ok((Some(format!("traced: {compared}")), said));
            }
        }
        said = format!(
            "load {:.0} ms, verify {:.0} ms, trace {:.0} ms, compile {:.0} ms, run {:.1} ms",
            loading.as_secs_f64() * 1e3,
            verifying.as_secs_f64() * 1e3,
            times.trace.as_secs_f64() * 1e3,
            times.first.saturating_sub(times.trace + times.again).as_secs_f64() * 1e3,
            times.again.as_secs_f64() * 1e3
        );
    }
    Ok((None, said))
}

fn main() {
    for folder in std::env::args().skip(1) {
        let path = Path::new(&folder);
        let name = path.file_name().map_or(folder.clone(), |name| name.to_string_lossy().into_owned());
        let (how, why) = match catch_unwind(AssertUnwindSafe(|| run(path))) {
            Ok(Ok((None, said))) => ("passed", said),
            Ok(Ok((Some(wrong), _))) => ("wrong", wrong),
            Ok(Err(Error::Unsupported(what))) => ("unknown", what),
            Ok(Err(error)) => ("error", error.to_string()),
            Err(_) => ("error", "it panicked".to_string()),
        };
        println!("{name}\t{how}\t{}", why.replace('\n', " "));
    }
}
