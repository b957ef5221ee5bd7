//! Results as hashes of their bits, to be compared between processes that compute them in different ways.
//!
//! A test that prints `bits NAME HASH` for each of its cases where [`asked`] is compared with itself, run by other processes at other instruction
//! sets ([`agree`]), or on another kind of processor by a script.

use std::process::{Command, Stdio};

use kiln_ir::Data;

/// What a test that prints hashes is asked by.
const ASKED: &str = "KILN_PRINT_BITS";

/// A core's caches of machines that there are, as `KILN_CACHES` names them: a Zen 4 with both of two cores, a Zen 3, a Sapphire Rapids, a
/// small Arm, and one that has hardly any.
pub const CACHES: [&str; 5] = ["32k,1m,16m", "32k,512k,16m", "48k,2m,30m", "32k,256k,2m", "8k,64k,256k"];

/// Whether this process is to print hashes.
pub fn asked() -> bool {
    std::env::var_os(ASKED).is_some()
}

/// Prints the hash of a case.
pub fn print(name: &str, results: &[Data]) {
    println!("bits {} {:016x}", name.replace(' ', "_"), hash(results));
}

/// A hash of the bits of all numbers (FNV-1a). What is no number has no bits of its own: its sign and payload differ between processors.
pub fn hash(results: &[Data]) -> u64 {
    let words = results.iter().flat_map(|data| data.scalars()).map(|scalar| match scalar.as_f64() {
        number if number.is_nan() => u64::MAX,
        number => number.to_bits() ^ scalar.as_i64().rotate_left(32) as u64,
    });
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        word.to_le_bytes()
            .iter()
            .fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    })
}

/// Runs the test of this name in processes of its own, one for each value of an environment variable, and compares the hashes that they print.
///
/// # Panics
/// Where one fails, prints nothing or prints other hashes: with the names of the cases.
pub fn agree(test: &str, variable: &str, values: &[&str]) {
    let children: Vec<_> = values
        .iter()
        .map(|value| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([test, "--exact", "--nocapture"]).env(ASKED, "1").env(variable, value);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut printed = Vec::new();
    for (value, child) in values.iter().zip(children) {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{test} with {variable}={value}:\n{text}\n{errors}");
        // The harness writes the test's name without an end of line before what it prints.
        let cases: Vec<String> = text
            .lines()
            .filter_map(|line| line.find("bits ").map(|at| line[at + 5..].to_string()))
            .filter(|line| line.split(' ').count() == 2)
            .collect();
        assert!(!cases.is_empty(), "{test} with {variable}={value} prints nothing:\n{text}\n{errors}");
        printed.push(cases);
    }
    for (value, cases) in values.iter().zip(&printed).skip(1) {
        let other = |case: &&String| !printed[0].contains(case);
        let names: Vec<&str> = cases.iter().filter(other).filter_map(|case| case.split(' ').next()).collect();
        let (count, all) = (names.len(), cases.len());
        assert!(
            count == 0,
            "{count} of {all} cases differ between {variable}={} and {value}: {}",
            values[0],
            names.join(", ")
        );
        assert_eq!(all, printed[0].len(), "{variable}={value} has other cases");
    }
}
