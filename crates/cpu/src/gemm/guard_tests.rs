//! Operands that end, or begin, at memory that nobody may touch: a product that reads one element too much dies.

use super::*;
use std::ffi::c_void;

const PAGE: usize = 4096;

unsafe extern "C" {
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        protection: i32,
        flags: i32,
        file: i32,
        offset: i64,
    ) -> *mut c_void;
    fn mprotect(at: *mut c_void, bytes: usize, protection: i32) -> i32;
    fn munmap(at: *mut c_void, bytes: usize) -> i32;
}

/// Readable and writable memory between two pages that are neither.
struct Guarded {
    map: *mut u8,
    bytes: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Guarded {
        let bytes = bytes.next_multiple_of(PAGE) + 2 * PAGE;
        // SAFETY: private anonymous memory (flags 0x22), the inner pages of which become readable and writable (3).
        unsafe {
            let map = mmap(std::ptr::null_mut(), bytes, 0, 0x22, -1, 0);
            assert_ne!(map as isize, -1);
            assert_eq!(mprotect(map.byte_add(PAGE), bytes - 2 * PAGE, 3), 0);
            Guarded { map: map.cast(), bytes }
        }
    }

    /// A place for so many numbers that touches the first or the last guard.
    fn place<T>(&self, count: usize, at_end: bool) -> *mut T {
        let end = self.bytes - PAGE - count * size_of::<T>();
        // SAFETY: between the guards.
        unsafe { self.map.add(if at_end { end } else { PAGE }).cast() }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { munmap(self.map.cast(), self.bytes) };
    }
}

fn stays_inside<S: GemmElement>(one: S, result: impl Fn(usize) -> S::Sum) {
    for (m, n, k) in [
        (1, 37, 19),
        (1, 16, 40),
        (3, 21, 35),
        (4, 5, 130),
        (13, 10, 17),
        (30, 33, 31),
        (65, 50, 300),
        (200, 259, 33),
        (40, 1, 50),
    ] {
        let (a, b) = (Guarded::new(m * k * size_of::<S>()), Guarded::new(k * n * size_of::<S>()));
        let c = Guarded::new(m * n * size_of::<S::Sum>());
        for (level, at_end) in Level::all_here().flat_map(|level| [(level, false), (level, true)]) {
            let (a, b) = (a.place::<S>(m * k, at_end), b.place::<S>(k * n, at_end));
            let c = c.place::<S::Sum>(m * n, at_end);
            for order in 0..4 {
                // SAFETY: the operands lie between their guards.
                unsafe {
                    (0..m * k).for_each(|at| a.add(at).write(one));
                    (0..k * n).for_each(|at| b.add(at).write(one));
                    let (a_row, a_col) = if order & 1 == 0 { (k as isize, 1) } else { (1, m as isize) };
                    let (b_row, b_col) = if order & 2 == 0 { (n as isize, 1) } else { (1, k as isize) };
                    let a = Mat { ptr: a.cast_const(), row: a_row, col: a_col, batch: 0 };
                    let b = Mat { ptr: b.cast_const(), row: b_row, col: b_col, batch: 0 };
                    let out = ResultSink::Store { start: c, stride: n as isize };
                    gemm_at(level, Gemm { batch: 1, m, n, k }, a, b, &out);
                    assert!((0..m * n).all(|at| c.add(at).read() == result(k)), "{m} {n} {k} {order}");
                }
            }
        }
    }
}

#[test]
fn no_element_outside_the_operands_is_touched() {
    stays_inside(1f32, |k| k as f32);
    stays_inside(1f64, |k| k as f64);
    stays_inside(1i32, |k| k as i32);
    stays_inside(half::f16::ONE, |k| k as f32);
}
