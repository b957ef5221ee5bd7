//! How large images are, and what their edge shows.

/// The size and channels of a model's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
}

/// The mean brightness of the pixels at the edge of an image `[channels, height, width]`, from 0 to 255. Light writing on a dark
/// ground has a low one.
pub fn edge_brightness(pixels: &[u8], size: ImageSize) -> f64 {
    let ImageSize { channels, height, width } = size;
    let mut sum = (0.0, 0.0);
    for (at, &pixel) in pixels.iter().enumerate().take(channels * height * width) {
        let (row, column) = (at / width % height, at % width);
        if row == 0 || column == 0 || row + 1 == height || column + 1 == width {
            sum = (sum.0 + f64::from(pixel), sum.1 + 1.0);
        }
    }
    sum.0 / f64::max(sum.1, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_tells_dark_from_light_grounds() {
        let size = ImageSize { channels: 1, height: 3, width: 3 };
        assert_eq!(edge_brightness(&[0, 0, 0, 0, 255, 0, 0, 0, 0], size), 0.0);
        assert_eq!(edge_brightness(&[255, 255, 255, 255, 0, 255, 255, 255, 255], size), 255.0);
    }
}
