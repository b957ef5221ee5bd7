//! Where the windows of pooling and of depthwise convolutions lie: which are inside of the image, and what the others
//! have of it.

use std::ops::Range;

/// Windows over an image; sizes are depth, height, width.
pub(super) struct WindowGeometry {
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) window: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) pad: [usize; 3],
    pub(super) dilation: [usize; 3],
    /// Along each axis, the windows inside of the image.
    inside: [Range<usize>; 3],
}

impl WindowGeometry {
    pub(super) fn new(
        [input, output]: [[usize; 3]; 2],
        [window, stride, pad, dilation]: [[usize; 3]; 4],
    ) -> WindowGeometry {
        let inside = [0, 1, 2].map(|a| {
            let reach = (window[a] - 1) * dilation[a];
            let first = pad[a].div_ceil(stride[a]);
            let end = (input[a] + pad[a]).saturating_sub(reach).div_ceil(stride[a]);
            first..end.min(output[a]).max(first)
        });
        WindowGeometry { input, output, window, stride, pad, dilation, inside }
    }

    /// How many elements a window has.
    pub(super) fn taps(&self) -> usize {
        self.window.iter().product()
    }

    /// How far an element lies from the first of its window, in pixels.
    #[inline(always)]
    pub(super) fn offset(&self, tap: usize) -> [usize; 3] {
        let [_, height, width] = self.window;
        let position = [tap / (height * width), tap / width % height, tap % width];
        std::array::from_fn(|a| position[a] * self.dilation[a])
    }

    /// Where the window of a result starts; maybe outside of the image.
    #[inline(always)]
    pub(super) fn corner(&self, result: [usize; 3]) -> [isize; 3] {
        std::array::from_fn(|a| (result[a] * self.stride[a]) as isize - self.pad[a] as isize)
    }

    /// Whether all of a result's window is inside of the image.
    #[inline(always)]
    pub(super) fn is_inside(&self, result: [usize; 3]) -> bool {
        (0..3).all(|a| self.inside[a].contains(&result[a]))
    }

    /// The results along an axis whose windows are inside of the image along it.
    pub(super) fn inside(&self, axis: usize) -> Range<usize> {
        self.inside[axis].clone()
    }

    /// Whether an element of a result's window is inside of the image.
    #[inline(always)]
    pub(super) fn has(&self, result: [usize; 3], tap: usize) -> bool {
        let offset = self.offset(tap);
        (0..3).all(|a| (result[a] * self.stride[a] + offset[a]).wrapping_sub(self.pad[a]) < self.input[a])
    }

    /// Whether the line of the window that an element is in is inside of the image, for results of this depth and height.
    #[inline(always)]
    pub(super) fn has_line(&self, [depth, height]: [usize; 2], tap: usize) -> bool {
        let offset = self.offset(tap);
        let has =
            |a: usize, at: usize| (at * self.stride[a] + offset[a]).wrapping_sub(self.pad[a]) < self.input[a];
        has(0, depth) && has(1, height)
    }

    /// Which of a window's columns are inside of the image, for results in this one.
    #[inline(always)]
    pub(super) fn columns(&self, column: usize) -> Range<usize> {
        let (start, dilation) = (column * self.stride[2], self.dilation[2]);
        let first = self.pad[2].saturating_sub(start).div_ceil(dilation).min(self.window[2]);
        let end = (self.input[2] + self.pad[2]).saturating_sub(start).div_ceil(dilation);
        first..end.clamp(first, self.window[2])
    }

    /// Whether no element is in two windows.
    pub(super) fn disjoint(&self) -> bool {
        let apart = |a: usize| self.dilation[a] == 1 && self.stride[a] >= self.window[a];
        (0..3).all(|a| self.output[a] == 1 || apart(a))
    }

    /// Whether every element is in a window.
    pub(super) fn covering(&self) -> bool {
        (0..3).all(|a| {
            let tight = self.dilation[a] == 1 && self.stride[a] <= self.window[a];
            let reached = (self.output[a] - 1) * self.stride[a] + self.window[a];
            tight && reached >= self.input[a] + self.pad[a]
        })
    }
}
