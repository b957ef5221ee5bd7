//! What the Rust peers share: arguments, MNIST from IDX files, shuffling, timing, and the line they print.

use std::time::{Duration, Instant};

pub struct Args {
    pub workload: String,
    pub seconds: f64,
    pub data: Option<std::path::PathBuf>,
}

/// Also sets the thread count, so it must come first in `main`.
pub fn arguments() -> Args {
    let mut args = Args { workload: String::new(), seconds: 3.0, data: None };
    let mut words = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        match flag.as_str() {
            "--workload" => args.workload = value,
            "--seconds" => args.seconds = value.parse().expect("--seconds takes a number"),
            "--data" => args.data = Some(value.into()),
            // SAFETY: no other thread runs yet.
            "--threads" => unsafe { std::env::set_var("RAYON_NUM_THREADS", value) },
            other => panic!("unknown flag {other}"),
        }
    }
    args
}

/// Images [n × 784] and labels [n], bytes as they stand in the files.
pub fn mnist(args: &Args) -> (Vec<u8>, Vec<u8>) {
    let folder = args.data.as_ref().expect("this workload needs --data");
    let read = |name: &str, header: usize| std::fs::read(folder.join(name)).expect(name).split_off(header);
    (read("train-images-idx3-ubyte", 16), read("train-labels-idx1-ubyte", 8))
}

pub fn shuffled(n: usize, state: &mut u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        order.swap(i, (*state % (i as u64 + 1)) as usize);
    }
    order
}

/// Runs `call` for the time asked for and prints the line. Short calls are timed in runs of at least 2 ms.
pub fn measure(args: &Args, peer: &str, version: &str, mut call: impl FnMut()) {
    let mut time = |n: usize| {
        let start = Instant::now();
        (0..n).for_each(|_| call());
        start.elapsed().as_secs_f64() / n as f64
    };
    let mut once = time(1);
    let warm = Instant::now() + Duration::from_secs_f64((args.seconds / 4.0).min(0.5));
    while Instant::now() < warm {
        once = once.min(time(1));
    }
    let inner = ((0.002 / once.max(1e-9)) as usize).max(1);
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut samples = Vec::new();
    while samples.len() < 2 || (Instant::now() < end && samples.len() < 1000) {
        samples.push(time(inner));
    }
    let line = serde_json::json!({"workload": args.workload, "peer": peer, "metric": "seconds", "samples": samples,
        "extra": {"version": version}});
    println!("{line}");
}
