//! Pictures in another size, by the triangle filter: bilinear where they grow, the mean over all that falls together where they shrink.

use super::Picture;

/// What a pixel of the result is made of along one axis: neighbours from the first on, each with its share.
struct Shares {
    first: usize,
    weights: Vec<f32>,
}

/// The shares of each of `to` places on an axis of `from`.
fn shares(from: usize, to: usize) -> Vec<Shares> {
    let ratio = from as f32 / to as f32;
    let reach = ratio.max(1.0);
    let share = |place: usize| {
        let centre = (place as f32 + 0.5) * ratio;
        let first = ((centre - reach).floor().max(0.0) as usize).min(from - 1);
        let end = ((centre + reach).ceil() as usize).clamp(first + 1, from);
        let weight = |at: usize| (1.0 - ((at as f32 - (centre - 0.5)) / reach).abs()).max(0.0);
        let mut weights: Vec<f32> = (first..end).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Shares { first, weights }
    };
    (0..to).map(share).collect()
}

/// The picture in another size. One without pixels becomes black.
pub(super) fn resize(picture: &Picture, height: usize, width: usize) -> Picture {
    match picture.channels {
        1 => resize_channels::<1>(picture, height, width),
        _ => resize_channels::<3>(picture, height, width),
    }
}

fn resize_channels<const CHANNELS: usize>(picture: &Picture, height: usize, width: usize) -> Picture {
    let mut bytes = Vec::with_capacity(height * width * CHANNELS);
    if picture.bytes.is_empty() {
        bytes.resize(height * width * CHANNELS, 0);
        return Picture { height, width, channels: CHANNELS, bytes };
    }
    let row_length = picture.width * CHANNELS;
    let columns = shares(picture.width, width);
    // A row of the result, still as wide as the picture.
    let mut tall = vec![0.0; row_length];
    for row in shares(picture.height, height) {
        tall.fill(0.0);
        for (source, &weight) in picture.bytes.chunks_exact(row_length).skip(row.first).zip(&row.weights) {
            for (sum, &byte) in tall.iter_mut().zip(source) {
                *sum += f32::from(byte) * weight;
            }
        }
        for column in &columns {
            let mut sums = [0.0; CHANNELS];
            let pixels = tall.as_chunks::<CHANNELS>().0.iter().skip(column.first);
            for (pixel, &weight) in pixels.zip(&column.weights) {
                for channel in 0..CHANNELS {
                    sums[channel] += pixel[channel] * weight;
                }
            }
            bytes.extend(sums.map(|sum: f32| sum.clamp(0.0, 255.0).round() as u8));
        }
    }
    Picture { height, width, channels: CHANNELS, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageSize;
    use image::{DynamicImage, imageops::FilterType};

    #[test]
    fn every_size_comes_out_as_the_crate_image_has_it() {
        let (height, width) = (23, 31);
        let bytes = |channels: usize| -> Vec<u8> {
            (0..height * width * channels).map(|at| ((at * at * 31 + at * 7) >> 3) as u8).collect()
        };
        for (tall, wide) in [(23, 30), (1, 1), (7, 11), (46, 62), (224, 5), (8, 40), (22, 31)] {
            let grey = Picture { height, width, channels: 1, bytes: bytes(1) };
            let colour = Picture { height, width, channels: 3, bytes: bytes(3) };
            let theirs = |picture: &Picture| match picture.channels {
                1 => DynamicImage::from(image::GrayImage::from_raw(31, 23, picture.bytes.clone()).unwrap()),
                _ => DynamicImage::from(image::RgbImage::from_raw(31, 23, picture.bytes.clone()).unwrap()),
            };
            for picture in [grey, colour] {
                // With its fourth channel, as all pictures once went through it.
                let whole = DynamicImage::from(theirs(&picture).to_rgba8());
                let resized = whole.resize_exact(wide as u32, tall as u32, FilterType::Triangle);
                let ours = resize(&picture, tall, wide);
                let expected = if picture.channels == 1 {
                    resized.to_luma8().into_raw()
                } else {
                    resized.to_rgb8().into_raw()
                };
                assert_eq!(ours.bytes, expected, "{tall} × {wide}, {} channels", picture.channels);
                let size = ImageSize { channels: 1, height: tall, width: wide };
                assert_eq!(picture.pixels(size), resized.to_luma8().into_raw(), "{tall} × {wide} in grey");
            }
        }
    }

    #[test]
    fn a_picture_without_pixels_becomes_black() {
        assert_eq!(resize(&Picture::blank(0, 4), 2, 3), Picture::blank(2, 3));
    }
}
