//! Counter-based random numbers: a pure function of a key and a counter, so the same numbers come out on every
//! device, for every thread count, and again after a resume.

/// The stride between the states of two counters: 2⁶⁴ divided by the golden ratio, odd.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// First multiplier of the finalizer.
pub const MIX_1: u64 = 0xbf58_476d_1ce4_e5b9;
/// Second multiplier of the finalizer.
pub const MIX_2: u64 = 0x94d0_49bb_1331_11eb;

/// 64 random bits for a key and a counter: the SplitMix64 generator of seed `key`, at position `counter`.
pub fn bits(key: i64, counter: i64) -> u64 {
    let mut z = (key as u64).wrapping_add((counter as u64).wrapping_add(1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^ (z >> 31)
}

/// Uniform in `[0, 1)`: the upper 24 of [`bits`].
pub fn uniform(key: i64, counter: i64) -> f32 {
    (bits(key, counter) >> 40) as f32 * (1.0 / 16_777_216.0)
}

/// A key derived from another, for the stream numbered `stream`; far from the counters of the first.
pub fn derive(key: i64, stream: i64) -> i64 {
    bits(bits(key, stream) as i64 ^ 0x6b69_6c6e, 0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_that_splitmix64_publishes() {
        let of_zero = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!([0, 1, 2].map(|counter| bits(0, counter)), of_zero);
        let of_another = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([0, 1].map(|counter| bits(1_234_567, counter)), of_another);
        assert_eq!(uniform(0, 0), (0xe220_a839_7b1d_cdaf_u64 >> 40) as f32 / 16_777_216.0);
    }
}
