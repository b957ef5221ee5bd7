//! Packed numbers, unpacked: rows that were looked up, or what somebody wants as a whole.

use kiln_compile::program::Unpack;

use super::call::KernelCall;
use super::gemm::UNPACK;
use super::send_ptr::SendPtr;
use super::simd::Level;
use super::threads::parallel;

/// Numbers that are worth a chunk of their own.
const CHUNK: usize = 16 * 1024;

/// Makes it ready to run.
pub(super) fn prepare(work: &Unpack, level: Level) -> KernelCall {
    let work = work.clone();
    let bytes = work.format.row_bytes(work.numbers).unwrap_or(0);
    let rows = (CHUNK / work.numbers.max(1)).max(1);
    let unpack = UNPACK.at(level);
    Box::new(move |bases| {
        let from = SendPtr(bases.origin::<u8>(&work.blocks).cast_const());
        let to = SendPtr(bases.origin::<f32>(&work.out));
        parallel(work.rows.div_ceil(rows), &|chunk| {
            for row in chunk * rows..work.rows.min((chunk + 1) * rows) {
                // SAFETY: the program was checked when it was loaded, and the caller gives its bases: rows lie one after the other, and
                // each is written once.
                unsafe {
                    let blocks = std::slice::from_raw_parts(from.get().add(row * bytes), bytes);
                    let numbers =
                        std::slice::from_raw_parts_mut(to.get().add(row * work.numbers), work.numbers);
                    unpack(work.format, blocks, numbers);
                }
            }
        });
        Ok(())
    })
}
