//! What the tests of all kinds of folders share: the folders beside this file, and what was kept of another library.

use std::fs;
use std::path::{Path, PathBuf};

use kiln::prelude::*;
use serde_json::Value;

/// The folders of a kind, each with its name and what is expected of it.
pub fn folders(kind: &str) -> Vec<(String, PathBuf, Value)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub").join(kind);
    let mut all: Vec<PathBuf> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.join("expected.json").is_file());
    all.sort();
    let named = |path: PathBuf| {
        let expected = serde_json::from_slice(&fs::read(path.join("expected.json")).unwrap()).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), path, expected)
    };
    all.into_iter().map(named).collect()
}

/// The numbers of a list, of lists in it too.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

/// The whole numbers of a list.
pub fn whole(value: &Value) -> Vec<i64> {
    numbers(value).into_iter().map(|x| x as i64).collect()
}

/// The farthest that numbers are from those expected.
pub fn apart<T: Copy + Into<f64>>(found: &[T], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).map(|(&a, b)| (a.into() - b).abs()).fold(0.0, f64::max)
}

/// The sine of each place, by which outputs are weighed in a loss.
pub fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at as f64).sin() as f32).collect()
}

/// The tensors of a folder.
pub fn tensors(folder: &Path) -> Vec<(String, Vec<usize>, Data)> {
    let weights = kiln::weights::Weights::open(folder.join("model.safetensors")).unwrap();
    let mut all: Vec<_> =
        weights.iter().map(|t| (t.name().to_string(), t.shape().to_vec(), t.data().unwrap())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Holds a step down the gradient, from one folder's weights to another's, to three sums over the gradient of each tensor.
pub fn descended(name: &str, before: &Path, after: &Path, expected: &Value) {
    let (before, after) = (tensors(before), tensors(after));
    assert_eq!(before.len(), after.len());
    for ((tensor, _, from), (_, _, to)) in before.iter().zip(&after) {
        let wanted =
            numbers(expected.get(tensor).unwrap_or_else(|| panic!("{name}: {tensor} has no gradient")));
        let [from, to] = [from, to].map(|data| data.as_slice::<f32>().unwrap());
        let gradient: Vec<f64> = from.iter().zip(to).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect();
        let sum =
            |f: fn(f64) -> f64| gradient.iter().enumerate().map(|(at, g)| g * f(at as f64)).sum::<f64>();
        let squares: f64 = gradient.iter().map(|g| g * g).sum();
        let found = [sum(f64::cos), sum(f64::sin), squares];
        // Weights are near 1, so each difference is off by some 1e-7; and what is kept was computed in double precision, from which the
        // other library's single precision is as far as 7e-6 of the squares.
        let far = apart(&found, &wanted);
        let most = 2e-5 * (1.0 + squares + gradient.len() as f64 * 0.05);
        assert!(far < most, "{name}: the gradient of {tensor} is {found:?} instead of {wanted:?}");
    }
}
