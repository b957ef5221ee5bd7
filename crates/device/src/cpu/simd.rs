//! Which vector instructions this processor has. Kernels are compiled once for each level and chosen at run time.

use std::sync::OnceLock;

/// A set of vector instructions, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has (NEON on 64-bit ARM, SSE2 on x86-64).
    Portable,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512 (F, BW, DQ and VL).
    Avx512,
}

impl Level {
    /// Every level this processor can run, least first.
    pub fn available() -> Vec<Level> {
        [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|&level| level <= best()).collect()
    }

    /// The name in `KILN_SIMD` and in the device's name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "AVX2",
            Level::Avx512 => "AVX-512",
        }
    }
}

/// The level in use: the best there is, or a lower one that the environment variable `KILN_SIMD` names (`portable`,
/// `avx2`, `avx512`).
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let asked = match std::env::var("KILN_SIMD").as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        asked.min(best())
    })
}

fn best() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl");
        let avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        if avx512 && avx2 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}
