//! What becomes of the shades and colours of an image, wherever its pixels come from.

/// A change of shades, of an image `[channels, pixels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tone {
    /// How strong colours are: 0 leaves greys, 1 all as it is.
    Saturation(f32),
    /// So many of the 8 bits of each shade go.
    Posterise(u32),
    /// Shades above this share of the brightest are inverted.
    Solarise(f32),
    /// All shades become equally frequent.
    Equalise,
    /// The darkest shade becomes black, and the brightest white.
    Contrast,
}

impl Tone {
    pub(super) fn apply(self, pixels: &mut [u8], channels: usize, plane: usize) {
        if let Tone::Saturation(strength) = self {
            if channels == 3 {
                saturate(pixels, plane, strength);
            }
            return;
        }
        for image in pixels.chunks_exact_mut(plane.max(1)).take(channels) {
            let shades = self.shades(image);
            image.iter_mut().for_each(|pixel| *pixel = shades[usize::from(*pixel)]);
        }
    }

    /// What each shade of a channel becomes.
    fn shades(self, image: &[u8]) -> [u8; 256] {
        let mut shades: [u8; 256] = std::array::from_fn(|shade| shade as u8);
        match self {
            Tone::Saturation(_) => {}
            Tone::Posterise(bits) => shades.iter_mut().for_each(|shade| *shade &= 0xff << bits.min(7)),
            Tone::Solarise(limit) => {
                let limit = 255.0 * limit;
                shades
                    .iter_mut()
                    .filter(|shade| f32::from(**shade) > limit)
                    .for_each(|shade| *shade = 255 - *shade);
            }
            Tone::Equalise => {
                let mut counts = [0usize; 256];
                image.iter().for_each(|&pixel| counts[usize::from(pixel)] += 1);
                let least = counts.iter().copied().find(|&count| count > 0).unwrap_or(0);
                let all = image.len().saturating_sub(least);
                let mut below = 0;
                for (shade, count) in shades.iter_mut().zip(counts) {
                    below += count;
                    // An image of one shade stays as it is.
                    if let Some(share) = (255 * below.saturating_sub(least)).checked_div(all) {
                        *shade = share as u8;
                    }
                }
            }
            Tone::Contrast => {
                let (least, most) =
                    image.iter().fold((255, 0), |(a, b), &pixel| (pixel.min(a), pixel.max(b)));
                if most > least {
                    let (least, most) = (f32::from(least), f32::from(most));
                    for shade in &mut shades {
                        *shade = ((f32::from(*shade) - least) * 255.0 / (most - least))
                            .round()
                            .clamp(0.0, 255.0) as u8;
                    }
                }
            }
        }
        shades
    }
}

/// Each colour nearer to the grey of its brightness, or farther away.
fn saturate(pixels: &mut [u8], plane: usize, strength: f32) {
    for at in 0..plane {
        let colours = [0, 1, 2].map(|channel| f32::from(pixels[channel * plane + at]));
        // The brightness of ITU-R BT.601, as for PIL's images.
        let grey = 0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2];
        for (channel, colour) in colours.into_iter().enumerate() {
            pixels[channel * plane + at] =
                (grey + (colour - grey) * strength).round().clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toned(tone: Tone, pixels: &[u8], channels: usize) -> Vec<u8> {
        let mut pixels = pixels.to_vec();
        let plane = pixels.len() / channels;
        tone.apply(&mut pixels, channels, plane);
        pixels
    }

    #[test]
    fn each_tone_does_what_it_says() {
        assert_eq!(toned(Tone::Posterise(4), &[0x12, 0xff, 0x80], 1), [0x10, 0xf0, 0x80]);
        assert_eq!(toned(Tone::Posterise(0), &[0x12, 0xff], 1), [0x12, 0xff]);
        assert_eq!(toned(Tone::Solarise(0.5), &[10, 200, 127], 1), [10, 55, 127]);
        assert_eq!(toned(Tone::Solarise(1.0), &[10, 255], 1), [10, 255]);
        assert_eq!(toned(Tone::Contrast, &[100, 150, 200], 1), [0, 128, 255]);
        assert_eq!(toned(Tone::Contrast, &[7, 7], 1), [7, 7]);
        assert_eq!(toned(Tone::Equalise, &[3, 3, 4, 5], 1), [0, 0, 127, 255]);
        assert_eq!(toned(Tone::Equalise, &[9, 9], 1), [9, 9]);
        assert_eq!(toned(Tone::Saturation(0.0), &[200, 0, 100], 3), [71, 71, 71]);
        assert_eq!(toned(Tone::Saturation(1.0), &[200, 0, 100], 3), [200, 0, 100]);
        assert_eq!(toned(Tone::Saturation(0.0), &[200, 0], 1), [200, 0]);
    }
}
