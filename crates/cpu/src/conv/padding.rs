//! Images with zeros around them, so that the inner kernel has no borders to think of.

/// A channels-last image inside of a padded one. Sizes are depth, height, width.
#[derive(Clone, Debug)]
pub(super) struct PaddedImage {
    pub(super) channels: usize,
    pub(super) inner: [usize; 3],
    pub(super) before: [usize; 3],
    pub(super) outer: [usize; 3],
    /// How far apart lines, planes and images are in the source: depth, height, width.
    pub(super) source: [isize; 3],
}

impl PaddedImage {
    /// How far a step in depth, height and width moves in the padded image.
    pub(super) fn strides(&self) -> [isize; 3] {
        let width = self.channels as isize;
        let height = width * self.outer[2] as isize;
        [height * self.outer[1] as isize, height, width]
    }

    /// How many numbers the padded image has.
    pub(super) fn len(&self) -> usize {
        self.outer.iter().product::<usize>() * self.channels
    }

    /// Whether there is no padding at all.
    pub(super) fn is_plain(&self) -> bool {
        self.inner == self.outer
    }

    /// Writes the padded image.
    ///
    /// # Safety
    /// `source` has all elements of the image at its strides, and `target` room for [`PaddedImage::len`].
    pub(super) unsafe fn fill(&self, source: *const f32, target: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.fill_lines(source, target, 0..self.lines()) }
    }

    /// How many lines the padded image has in all planes.
    pub(super) fn lines(&self) -> usize {
        self.outer[0] * self.outer[1]
    }

    /// Writes some lines of the padded image.
    ///
    /// # Safety
    /// As [`PaddedImage::fill`].
    pub(super) unsafe fn fill_lines(
        &self,
        source: *const f32,
        target: *mut f32,
        lines: std::ops::Range<usize>,
    ) {
        let [_, line, pixel] = self.strides().map(|stride| stride as usize);
        let dense = self.source[2] == self.channels as isize;
        for number in lines {
            let (z, y) = (number / self.outer[1], number % self.outer[1]);
            let start = target.wrapping_add(number * line);
            let (iz, iy) = (z.wrapping_sub(self.before[0]), y.wrapping_sub(self.before[1]));
            // SAFETY: within the padded image, and source lines are only touched where they exist.
            unsafe {
                if iz >= self.inner[0] || iy >= self.inner[1] {
                    start.write_bytes(0, line);
                    continue;
                }
                let left = self.before[2] * pixel;
                let middle = self.inner[2] * pixel;
                start.write_bytes(0, left);
                start.add(left + middle).write_bytes(0, line - left - middle);
                let from =
                    source.wrapping_offset(iz as isize * self.source[0] + iy as isize * self.source[1]);
                if dense {
                    std::ptr::copy_nonoverlapping(from, start.add(left), middle);
                } else {
                    for x in 0..self.inner[2] {
                        let from = from.wrapping_offset(x as isize * self.source[2]);
                        std::ptr::copy_nonoverlapping(from, start.add(left + x * pixel), pixel);
                    }
                }
            }
        }
    }
}
