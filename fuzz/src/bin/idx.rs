//! IDX, the files of MNIST: there are as many numbers as the sizes say.
#![no_main]

use kiln_data::read_idx;
use kiln_fuzz::{file, fuzz_target, seeds};

const SEEDS: [&[u8]; 2] =
    [&[0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9], &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]];

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    if let Ok((sizes, numbers)) = read_idx(file("input", bytes)) {
        assert_eq!(sizes.iter().product::<usize>(), numbers.len());
    }
});
