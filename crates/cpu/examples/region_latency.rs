//! What a parallel region costs: empty ones in a row, with hot workers and after a sleep, beside the same loop alone.

use kiln_cpu::threads::{parallel, with_threads};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    for count in [1, most] {
        let _threads = with_threads(count);
        for chunks in [2, 8] {
            let mut times: Vec<Duration> = (0..200_000)
                .map(|_| {
                    let start = Instant::now();
                    parallel(chunks, &|index| {
                        black_box(index);
                    });
                    start.elapsed()
                })
                .collect();
            times.sort();
            println!(
                "{count} threads, {chunks} chunks: median {:?}, 99.9 % {:?}, worst {:?}",
                times[100_000], times[199_800], times[199_999]
            );
        }
        let mut times: Vec<Duration> = (0..200)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                let start = Instant::now();
                parallel(2, &|index| {
                    black_box(index);
                });
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{count} threads, after a sleep: median {:?}, worst {:?}", times[100], times[199]);
    }
}
