//! Stores that go past the caches: what is written is more than they hold, and a line needn't be read before it is written.

use super::loops::Loop;
use crate::caches::caches;
use crate::simd::{Level, Simd, stamp};

/// Bytes of which a store isn't found in the last cache by who reads it next: more than a core's share, and than what most processors
/// have in all.
pub(super) fn least() -> usize {
    caches().third.max(32 << 20)
}

stamp! {
    static COPY: fn(to: *mut u8, from: *const u8, _b: *const u8, _c: *const u8, bytes: usize) = copy_at::<Here>;
}

/// The loop that copies bytes past the caches; its last argument counts them. Who runs it calls [`finish`] before others may read.
pub(super) fn copy(level: Level) -> Loop {
    COPY.at(level)
}

/// Makes what was streamed by this thread visible before what it writes next.
pub(super) fn finish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence, which every processor of this architecture has.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// # Safety
/// So many bytes are there and there, apart from each other; the level is the caller's promise.
#[inline(always)]
unsafe fn copy_at<S: Simd>(to: *mut u8, from: *const u8, _: *const u8, _: *const u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::*;
            // Vectors go to multiples of their size; neighbouring tiles, which follow at once, fill the rest of a line.
            let at = to.align_offset(16).min(bytes);
            std::ptr::copy_nonoverlapping(from, to, at);
            let mut at = at;
            let narrow = |at: usize| _mm_stream_ps(to.add(at).cast(), _mm_loadu_ps(from.add(at).cast()));
            if !matches!(S::LEVEL, Level::Portable) {
                while !to.add(at).addr().is_multiple_of(64) && bytes - at >= 16 {
                    narrow(at);
                    at += 16;
                }
                while bytes - at >= 64 {
                    if matches!(S::LEVEL, Level::Avx512) {
                        _mm512_stream_ps(to.add(at).cast(), _mm512_loadu_ps(from.add(at).cast()));
                    } else {
                        for half in [at, at + 32] {
                            _mm256_stream_ps(to.add(half).cast(), _mm256_loadu_ps(from.add(half).cast()));
                        }
                    }
                    at += 64;
                }
            }
            while bytes - at >= 16 {
                narrow(at);
                at += 16;
            }
            std::ptr::copy_nonoverlapping(from.add(at), to.add(at), bytes - at);
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::ptr::copy_nonoverlapping(from, to, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_wherever_it_begins_and_no_other_is_touched() {
        let from: Vec<u8> = (0..700).map(|i| (i * 7) as u8).collect();
        for level in Level::all_here() {
            for begin in 0..70 {
                for bytes in [0, 1, 15, 16, 17, 63, 64, 65, 130, 600] {
                    let mut to = vec![255; 800];
                    let source = from[begin / 2..].as_ptr();
                    // SAFETY: both have so many bytes from there on, and the level is one of this machine's.
                    unsafe { copy(level)(to[begin..].as_mut_ptr(), source, source, source, bytes) };
                    finish();
                    let mut expected = vec![255; 800];
                    expected[begin..begin + bytes].copy_from_slice(&from[begin / 2..][..bytes]);
                    assert_eq!(to, expected, "{bytes} bytes to {begin}, {}", level.name());
                }
            }
        }
    }
}
