//! Matrix products, convolutions and pooling: one sum for each element of the result.

use kiln_compile::program::{Conv, ConvKind, Matmul, View, Window, WindowKind, accumulator};
use kiln_ir::{DType, Scalar};

use super::super::bases::Bases;
use super::super::call::KernelCall;
use super::scalar::held;
use super::{body, points, read, write};

/// A matrix product and its epilogue.
pub(in super::super) fn matmul(work: &Matmul) -> KernelCall {
    let work = work.clone();
    Box::new(move |bases: &Bases| {
        for_epilogue(&work.epilogue.loops, |row, column, at| {
            let (batch, m) = (row / work.m, row % work.m);
            let mut sum = Sum::new(work.a.dtype);
            for k in 0..work.k {
                // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
                unsafe {
                    sum.add(read(&work.a, &[batch, m, k], bases), read(&work.b, &[batch, k, column], bases))
                };
            }
            // SAFETY: as above.
            unsafe {
                body::store(
                    &work.epilogue,
                    at,
                    bases,
                    Some(sum.value()),
                    &vec![Scalar::Int(0); work.epilogue.body.len()],
                )
            };
        });
        Ok(())
    })
}

/// Calls `visit` with the row, the column and the loop indices of each element of a contraction.
fn for_epilogue(loops: &[usize], mut visit: impl FnMut(usize, usize, &[usize])) {
    let columns = loops.last().copied().unwrap_or(1);
    let mut number = 0;
    points(loops, |at| {
        visit(number / columns, number % columns, at);
        number += 1;
    });
}

/// A sum of products in the accumulator's dtype.
struct Sum {
    dtype: DType,
    float: f64,
    int: i64,
}

impl Sum {
    fn new(operands: DType) -> Sum {
        Sum { dtype: accumulator(operands).unwrap_or(DType::F32), float: 0.0, int: 0 }
    }

    fn add(&mut self, a: Scalar, b: Scalar) {
        if self.dtype.is_float() {
            self.float += a.as_f64() * b.as_f64();
        } else {
            self.int = self.int.wrapping_add(a.as_i64().wrapping_mul(b.as_i64()));
        }
    }

    fn value(&self) -> Scalar {
        let value = if self.dtype.is_float() { Scalar::Float(self.float) } else { Scalar::Int(self.int) };
        held(self.dtype, value)
    }
}

/// Where the element `w` of window `o` lies along an axis, if it isn't padding.
fn place(o: usize, w: usize, stride: usize, dilation: usize, pad: usize, size: usize) -> Option<usize> {
    (o * stride + w * dilation).checked_sub(pad).filter(|&at| at < size)
}

/// The index that `number` is in row-major order of `sizes`.
fn unflatten<const N: usize>(mut number: usize, sizes: [usize; N]) -> [usize; N] {
    let mut at = [0; N];
    for axis in (0..N).rev() {
        at[axis] = number % sizes[axis];
        number /= sizes[axis];
    }
    at
}

/// A convolution or one of its gradients, and its epilogue.
pub(in super::super) fn conv(work: &Conv) -> KernelCall {
    let work = work.clone();
    Box::new(move |bases: &Bases| {
        let (group_in, group_out) = (work.in_channels / work.groups, work.out_channels / work.groups);
        let inside = |o: [usize; 3], w: [usize; 3]| -> Option<[usize; 3]> {
            let along =
                |a: usize| place(o[a], w[a], work.stride[a], work.dilation[a], work.pad[a], work.input[a]);
            Some([along(0)?, along(1)?, along(2)?])
        };
        let five = |n: usize, c: usize, s: [usize; 3]| [n, c, s[0], s[1], s[2]];
        for_epilogue(&work.epilogue.loops, |row, column, at| {
            let mut sum = Sum::new(work.a.dtype);
            // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
            let mut add = |a: [usize; 5], b: [usize; 5]| unsafe {
                sum.add(read(&work.a, &a, bases), read(&work.b, &b, bases))
            };
            match work.kind {
                ConvKind::Forward => {
                    let [n, o @ ..] =
                        unflatten(row, [work.batch, work.output[0], work.output[1], work.output[2]]);
                    let first = column / group_out * group_in;
                    points(&work.window, |w| {
                        let Some(i) = inside(o, [w[0], w[1], w[2]]) else {
                            return;
                        };
                        for c in 0..group_in {
                            add(five(n, first + c, i), five(column, c, [w[0], w[1], w[2]]));
                        }
                    });
                }
                ConvKind::GradInput => {
                    let [n, i @ ..] =
                        unflatten(row, [work.batch, work.input[0], work.input[1], work.input[2]]);
                    let (group, c) = (column / group_in, column % group_in);
                    points(&work.output, |o| {
                        points(&work.window, |w| {
                            if inside([o[0], o[1], o[2]], [w[0], w[1], w[2]]) == Some(i) {
                                for out in group * group_out..(group + 1) * group_out {
                                    add(five(n, out, [o[0], o[1], o[2]]), five(out, c, [w[0], w[1], w[2]]));
                                }
                            }
                        });
                    });
                }
                ConvKind::GradWeight => {
                    let [w @ .., c] =
                        unflatten(row, [work.window[0], work.window[1], work.window[2], group_in]);
                    let first = column / group_out * group_in;
                    for n in 0..work.batch {
                        points(&work.output, |o| {
                            let o = [o[0], o[1], o[2]];
                            if let Some(i) = inside(o, w) {
                                add(five(n, first + c, i), five(n, column, o));
                            }
                        });
                    }
                }
            }
            let kept = vec![Scalar::Int(0); work.epilogue.body.len()];
            // SAFETY: as above.
            unsafe { body::store(&work.epilogue, at, bases, Some(sum.value()), &kept) };
        });
        Ok(())
    })
}

/// Pooling and its adjoints.
pub(in super::super) fn window(work: &Window) -> KernelCall {
    let work = work.clone();
    Box::new(move |bases: &Bases| {
        // SAFETY: the program was checked when it was loaded, and the caller gives its bases.
        unsafe { pool(&work, bases) };
        Ok(())
    })
}

/// # Safety
/// The kernel was checked, and nothing else uses what is in `bases`.
unsafe fn pool(work: &Window, bases: &Bases) {
    let dtype = work.out.dtype;
    let spread = matches!(work.kind, WindowKind::Spread | WindowKind::SumGrad);
    let image: usize = work.input.iter().product();
    let mut sums = vec![Scalar::Int(0); if spread { work.batch * work.channels * image } else { 0 }];
    sums.fill(held(dtype, Scalar::Int(0)));
    let add = |a: Scalar, b: Scalar| super::scalar::binary(kiln_ir::op::BinaryOp::Add, dtype, a, b);
    let get = |view: &View, nc: [usize; 2], s: [usize; 3]| {
        // SAFETY: as for this function.
        unsafe { read(view, &[nc[0], nc[1], s[0], s[1], s[2]], bases) }
    };
    let flat = |s: [usize; 3]| (s[0] * work.input[1] + s[1]) * work.input[2] + s[2];
    for n in 0..work.batch {
        for c in 0..work.channels {
            let start = (n * work.channels + c) * image;
            points(&work.output, |o| {
                let o = [o[0], o[1], o[2]];
                let mut inside = Vec::new();
                points(&work.window, |w| {
                    let along = |a: usize| {
                        place(o[a], w[a], work.stride[a], work.dilation[a], work.pad[a], work.input[a])
                    };
                    if let (Some(d), Some(h), Some(w)) = (along(0), along(1), along(2)) {
                        inside.push([d, h, w]);
                    }
                });
                let first = &work.operands[0];
                let picks = matches!(work.kind, WindowKind::Pick | WindowKind::Spread);
                let picked = inside.iter().copied().filter(|_| picks).reduce(|a, b| {
                    let (x, y) = (get(first, [n, c], a).as_f64(), get(first, [n, c], b).as_f64());
                    if y > x || (y.is_nan() && !x.is_nan()) { b } else { a }
                });
                let put = |value: Scalar| {
                    // SAFETY: as for this function.
                    unsafe { write(&work.out, &[n, c, o[0], o[1], o[2]], bases, value) };
                };
                match work.kind {
                    WindowKind::Pick => {
                        put(picked.map_or(Scalar::Int(0), |at| get(&work.operands[1], [n, c], at)))
                    }
                    WindowKind::Sum => {
                        put(inside.iter().fold(Scalar::Int(0), |sum, &at| add(sum, get(first, [n, c], at))));
                    }
                    WindowKind::Spread => {
                        if let Some(at) = picked {
                            let sum = &mut sums[start + flat(at)];
                            *sum = add(*sum, get(&work.operands[1], [n, c], o));
                        }
                    }
                    WindowKind::SumGrad => {
                        for at in inside {
                            let sum = &mut sums[start + flat(at)];
                            *sum = add(*sum, get(first, [n, c], o));
                        }
                    }
                }
            });
            if spread {
                points(&work.input, |s| {
                    let value = sums[start + flat([s[0], s[1], s[2]])];
                    // SAFETY: as for this function.
                    unsafe { write(&work.out, &[n, c, s[0], s[1], s[2]], bases, value) };
                });
            }
        }
    }
}
