//! Digits as people write them, drawn from strokes: each digit in several hands, with its own slant, turn, size, place, pen and
//! noise. A set that needs no download, too hard for a linear model and easy for a small convolutional one.

use crate::rng::Rng;
use crate::set::Set;
use crate::values::{Form, ValueKind};

/// Pixels on a side.
const SIDE: usize = 28;

/// A line of the pen through these places, `(right, down)` in a square from 0 to 1.
type Stroke = &'static [(f32, f32)];

/// The ways to write each digit.
#[rustfmt::skip]
const HANDS: [&[&[Stroke]]; 10] = [
    &[
        &[&[(0.55, 0.05), (0.25, 0.18), (0.15, 0.5), (0.25, 0.85), (0.5, 0.96), (0.77, 0.83), (0.86, 0.5), (0.76, 0.16), (0.5, 0.05)]],
        &[&[(0.62, 0.1), (0.36, 0.08), (0.2, 0.35), (0.2, 0.68), (0.4, 0.94), (0.66, 0.9), (0.82, 0.6), (0.78, 0.28), (0.56, 0.06), (0.44, 0.12)]],
    ],
    &[
        &[&[(0.5, 0.04), (0.5, 0.5), (0.5, 0.96)]],
        &[&[(0.3, 0.25), (0.42, 0.16), (0.54, 0.04)], &[(0.54, 0.04), (0.53, 0.5), (0.52, 0.96)]],
        &[&[(0.32, 0.22), (0.52, 0.05)], &[(0.52, 0.05), (0.52, 0.95)], &[(0.3, 0.95), (0.74, 0.95)]],
    ],
    &[
        &[&[(0.2, 0.27), (0.3, 0.1), (0.55, 0.05), (0.76, 0.2), (0.7, 0.45), (0.45, 0.7), (0.2, 0.93)], &[(0.2, 0.93), (0.5, 0.92), (0.84, 0.92)]],
        &[&[(0.22, 0.25), (0.36, 0.07), (0.62, 0.08), (0.76, 0.27), (0.62, 0.55), (0.36, 0.8), (0.2, 0.9), (0.24, 0.78), (0.4, 0.8), (0.6, 0.93), (0.84, 0.88)]],
    ],
    &[
        &[&[(0.22, 0.14), (0.5, 0.04), (0.74, 0.16), (0.7, 0.36), (0.44, 0.47)], &[(0.44, 0.47), (0.74, 0.54), (0.82, 0.76), (0.6, 0.94), (0.36, 0.94), (0.18, 0.82)]],
        &[&[(0.22, 0.07), (0.5, 0.07), (0.78, 0.07)], &[(0.78, 0.07), (0.48, 0.42)], &[(0.48, 0.42), (0.74, 0.5), (0.8, 0.74), (0.6, 0.94), (0.36, 0.93), (0.2, 0.84)]],
    ],
    &[
        &[&[(0.4, 0.05), (0.28, 0.34), (0.16, 0.6)], &[(0.16, 0.6), (0.5, 0.59), (0.86, 0.57)], &[(0.66, 0.3), (0.64, 0.62), (0.6, 0.96)]],
        &[&[(0.64, 0.05), (0.36, 0.38), (0.13, 0.66)], &[(0.13, 0.66), (0.88, 0.66)], &[(0.64, 0.05), (0.64, 0.5), (0.64, 0.96)]],
        &[&[(0.24, 0.06), (0.2, 0.3), (0.26, 0.5), (0.5, 0.54), (0.76, 0.46)], &[(0.76, 0.06), (0.75, 0.5), (0.72, 0.96)]],
    ],
    &[
        &[&[(0.76, 0.06), (0.52, 0.06), (0.3, 0.07)], &[(0.3, 0.07), (0.27, 0.26), (0.25, 0.45)], &[(0.25, 0.45), (0.5, 0.37), (0.76, 0.5), (0.78, 0.76), (0.54, 0.95), (0.3, 0.92), (0.18, 0.8)]],
        &[&[(0.8, 0.08), (0.38, 0.08)], &[(0.36, 0.08), (0.24, 0.44), (0.48, 0.44), (0.68, 0.56), (0.7, 0.78), (0.46, 0.96), (0.2, 0.88)]],
    ],
    &[
        &[&[(0.68, 0.05), (0.4, 0.24), (0.24, 0.55), (0.28, 0.85), (0.5, 0.96), (0.74, 0.84), (0.74, 0.62), (0.54, 0.5), (0.34, 0.6), (0.26, 0.76)]],
        &[&[(0.5, 0.04), (0.3, 0.4), (0.22, 0.74), (0.4, 0.95), (0.66, 0.93), (0.74, 0.74), (0.58, 0.6), (0.36, 0.66), (0.26, 0.8)]],
    ],
    &[
        &[&[(0.18, 0.09), (0.5, 0.08), (0.82, 0.07)], &[(0.82, 0.07), (0.62, 0.45), (0.42, 0.96)]],
        &[&[(0.16, 0.2), (0.2, 0.08), (0.8, 0.08)], &[(0.8, 0.08), (0.56, 0.5), (0.46, 0.96)], &[(0.34, 0.5), (0.72, 0.48)]],
        &[&[(0.2, 0.12), (0.48, 0.06), (0.78, 0.1), (0.72, 0.3), (0.58, 0.6), (0.54, 0.96)]],
    ],
    &[
        &[&[(0.7, 0.16), (0.48, 0.05), (0.28, 0.18), (0.34, 0.38), (0.58, 0.52), (0.77, 0.72), (0.62, 0.93), (0.38, 0.93), (0.24, 0.74), (0.42, 0.53), (0.66, 0.36), (0.7, 0.18)]],
        &[&[(0.5, 0.05), (0.28, 0.16), (0.3, 0.38), (0.5, 0.46), (0.7, 0.38), (0.72, 0.16), (0.5, 0.05)], &[(0.5, 0.46), (0.24, 0.6), (0.24, 0.84), (0.5, 0.96), (0.76, 0.84), (0.76, 0.6), (0.5, 0.46)]],
    ],
    &[
        &[&[(0.73, 0.26), (0.54, 0.06), (0.3, 0.14), (0.24, 0.36), (0.42, 0.52), (0.64, 0.44), (0.73, 0.26)], &[(0.73, 0.26), (0.71, 0.6), (0.6, 0.96)]],
        &[&[(0.7, 0.16), (0.44, 0.06), (0.26, 0.24), (0.36, 0.46), (0.6, 0.42), (0.74, 0.18), (0.76, 0.55), (0.66, 0.86), (0.42, 0.95), (0.26, 0.86)]],
    ],
];

/// So many digits of 28 × 28 bytes, each class as often as the others (up to one), in a random order.
///
/// ```
/// use kiln_data::{Dataset, digits};
///
/// let set = digits(100, 7);
/// assert_eq!((set.len(), set.x().shape.as_slice()), (100, &[1, 28, 28][..]));
/// assert_eq!(set.labels()?.iter().filter(|label| **label == 3).count(), 10);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub fn digits(count: usize, seed: u64) -> Set {
    let mut classes: Vec<u8> = (0..count).map(|number| (number % 10) as u8).collect();
    Rng::new(seed).shuffle(&mut classes);
    let mut pixels = vec![0; count * SIDE * SIDE];
    for (number, (image, class)) in pixels.chunks_exact_mut(SIDE * SIDE).zip(&classes).enumerate() {
        draw(usize::from(*class), &mut Rng::new(seed).derive(number as u64 + 1), image);
    }
    let form = Form { kind: ValueKind::U8, ..Form::class(10) };
    let made = Set::new(pixels, Form::pixels(&[1, SIDE, SIDE]), classes, form);
    made.expect("an image and a class were made for each").named((0..10).map(|class| class.to_string()))
}

/// Writes one digit.
fn draw(class: usize, rng: &mut Rng, image: &mut [u8]) {
    let hands = HANDS[class];
    let hand = hands[rng.below(hands.len())];
    let mut between = |least: f64, most: f64| (least + (most - least) * rng.uniform()) as f32;
    let (turn, slant) = (between(-0.24, 0.24), between(-0.15, 0.4));
    let (wide, high) = (between(10.0, 19.0), between(16.0, 22.0));
    let (right, down) = (14.0 + between(-2.5, 2.5), 14.0 + between(-2.0, 2.0));
    let pen = between(0.75, 2.0);
    let pressure = between(0.75, 1.0);
    // A slow wave bends the whole digit.
    let (wave, phase) = (between(0.0, 0.07), between(0.0, std::f64::consts::TAU));
    let noise = between(0.0, 0.14);
    let noise = noise * noise * 7.0;
    let (sin, cos) = libm::sincosf(turn);
    let place = |(x, y): (f32, f32)| {
        let x = x - 0.5 + wave * libm::sinf(phase + 5.0 * y);
        let y = y - 0.5 + wave * libm::sinf(phase + 1.0 + 4.0 * x);
        let (x, y) = ((x - slant * y) * wide, y * high);
        (right + x * cos - y * sin, down + x * sin + y * cos)
    };
    let mut ink = [0f32; SIDE * SIDE];
    for stroke in hand {
        let shaken: Vec<(f32, f32)> = stroke
            .iter()
            .map(|&(x, y)| (x + 0.028 * rng.normal() as f32, y + 0.028 * rng.normal() as f32))
            .collect();
        let path: Vec<(f32, f32)> = smooth(&shaken).into_iter().map(place).collect();
        for ends in path.windows(2) {
            press(&mut ink, ends[0], ends[1], pen);
        }
    }
    for (pixel, ink) in image.iter_mut().zip(ink) {
        let value = pressure * ink + noise * rng.normal() as f32 * 0.5;
        *pixel = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    }
}

/// A curve through the points (Catmull and Rom's), as short lines.
fn smooth(points: &[(f32, f32)]) -> Vec<(f32, f32)> {
    const PARTS: usize = 6;
    let at = |index: isize| points[index.clamp(0, points.len() as isize - 1) as usize];
    let mut path = Vec::with_capacity(points.len() * PARTS);
    for start in 0..points.len() as isize - 1 {
        let (a, b, c, d) = (at(start - 1), at(start), at(start + 1), at(start + 2));
        for part in 0..PARTS {
            let t = part as f32 / PARTS as f32;
            let along = |a: f32, b: f32, c: f32, d: f32| {
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
                    + (3.0 * b - a - 3.0 * c + d) * t * t * t)
            };
            path.push((along(a.0, b.0, c.0, d.0), along(a.1, b.1, c.1, d.1)));
        }
    }
    path.extend(points.last());
    path
}

/// Presses a pen of this radius along a line: full within it, fading over a pixel at its edge.
fn press(ink: &mut [f32; SIDE * SIDE], from: (f32, f32), to: (f32, f32), pen: f32) {
    let reach = pen + 1.0;
    let range = |a: f32, b: f32| {
        let first = (a.min(b) - reach).floor().clamp(0.0, SIDE as f32) as usize;
        first..((a.max(b) + reach).ceil().clamp(0.0, SIDE as f32) as usize)
    };
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = (dx * dx + dy * dy).max(1e-12);
    for row in range(from.1, to.1) {
        for column in range(from.0, to.0) {
            let (x, y) = (column as f32 + 0.5 - from.0, row as f32 + 0.5 - from.1);
            let t = ((x * dx + y * dy) / length).clamp(0.0, 1.0);
            let (x, y) = (x - t * dx, y - t * dy);
            let distance = (x * x + y * y).sqrt();
            let value = (pen + 0.5 - distance).clamp(0.0, 1.0);
            let pixel = &mut ink[row * SIDE + column];
            *pixel = pixel.max(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;

    #[test]
    fn a_seed_makes_the_same_digits_and_another_seed_others() {
        let pixels = |seed: u64| digits(50, seed).inputs().clone();
        assert_eq!(pixels(3), pixels(3));
        assert_ne!(pixels(3), pixels(4));
        assert_eq!(digits(0, 1).len(), 0);
    }

    #[test]
    fn every_digit_has_ink_and_room_around_it() {
        let set = digits(500, 1);
        for image in set.inputs().as_u8().unwrap().chunks(SIDE * SIDE) {
            let dark = image.iter().filter(|&&pixel| pixel > 128).count();
            assert!((15..420).contains(&dark), "{dark} pixels are dark");
        }
    }
}
