//! A drawing as pixels, on the light ground of the page: each shape by how much of a pixel it covers, letters by their outlines.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use kiln_learn::data::ImageSize;

use super::drawing::{ChartShape, DotStyle, Drawing, PathStroke, TextAnchor, TextStyle};

/// Letters of Latin-1 and a few signs, of DejaVu Sans; its licence lies beside it.
const FONT: &[u8] = include_bytes!("font/letters.ttf");

/// How many pixels a unit of the page has.
const SCALE: f64 = 2.0;

/// How much of an area's colour is seen.
const AREA: f64 = 0.2;

type Colour = [u8; 3];

/// The colours of the page where it is light: the ground, ink, soft ink, lines, and those of series.
const GROUND: Colour = [0xff, 0xff, 0xff];
const INK: Colour = [0x1b, 0x1f, 0x24];
const SOFT: Colour = [0x66, 0x70, 0x79];
const LINE: Colour = [0xd9, 0xde, 0xe3];
const SERIES: [Colour; 8] = [
    [0x17, 0x64, 0xab],
    [0xc2, 0x41, 0x0c],
    [0x15, 0x80, 0x3d],
    [0x7e, 0x22, 0xce],
    [0xa1, 0x62, 0x07],
    [0x0e, 0x74, 0x90],
    [0xbe, 0x18, 0x5d],
    [0x4b, 0x55, 0x63],
];

/// The pixels of a drawing, `[3, height, width]`.
pub(super) fn pixels(drawing: &Drawing) -> (Vec<u8>, ImageSize) {
    let [width, height] = [drawing.width, drawing.height].map(|side| (side * SCALE).ceil() as usize);
    let mut canvas = Canvas { width, height, pixels: GROUND.repeat(width * height) };
    for shape in &drawing.shapes {
        canvas.draw(shape);
    }
    let plane = |channel: usize| canvas.pixels.iter().skip(channel).step_by(3).copied();
    let planes = (0..3).flat_map(plane).collect();
    (planes, ImageSize { channels: 3, height, width })
}

/// Pixels of red, green and blue, row by row.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

fn of_series(number: usize) -> Colour {
    SERIES[number % SERIES.len()]
}

impl Canvas {
    fn draw(&mut self, shape: &ChartShape) {
        let scaled = |(x, y): (f64, f64)| (x * SCALE, y * SCALE);
        match shape {
            ChartShape::Text { at, text, style, anchor } => self.text(scaled(*at), text, *style, *anchor),
            ChartShape::Path { points, stroke } => {
                let points: Vec<(f64, f64)> = points.iter().map(|point| scaled(*point)).collect();
                let (colour, width) = match stroke {
                    PathStroke::Axis => (LINE, 1.0),
                    PathStroke::Guide => (SOFT, 1.0),
                    PathStroke::Series(number) => (of_series(*number), 2.0),
                    PathStroke::Key(number) => (of_series(*number), 3.0),
                };
                match (stroke, points.as_slice()) {
                    (PathStroke::Guide, [from, to]) => self.dashed(*from, *to, width * SCALE, colour),
                    _ => self.path(&points, width * SCALE, colour),
                }
            }
            ChartShape::Dot { at, radius, colour, style, .. } => {
                let opacity = match style {
                    DotStyle::Solid => 1.0,
                    DotStyle::Pale => 0.55,
                    DotStyle::Hover => return,
                };
                let ((x, y), radius) = (scaled(*at), radius * SCALE);
                let covered = |px: f64, py: f64| radius + 0.5 - libm::hypot(px - x, py - y);
                self.fill(
                    [x - radius, x + radius, y - radius, y + radius],
                    of_series(*colour),
                    opacity,
                    covered,
                );
            }
            ChartShape::Area { points, colour } => {
                let points: Vec<(f64, f64)> = points.iter().map(|point| scaled(*point)).collect();
                self.area(&points, of_series(*colour), AREA);
            }
            ChartShape::Bar { corner, size, colour, .. } => {
                let ((x, y), (width, height)) = (scaled(*corner), scaled(*size));
                let within = |at: f64, from: f64, to: f64| (at + 0.5).min(to) - (at - 0.5).max(from);
                let covered =
                    |px: f64, py: f64| within(px, x, x + width).max(0.0) * within(py, y, y + height).max(0.0);
                self.fill([x, x + width, y, y + height], of_series(*colour), 0.85, covered);
            }
        }
    }

    /// Fills what lies between left, right, top and bottom by how much of each pixel is covered, from 0 to 1.
    fn fill(
        &mut self,
        [left, right, top, bottom]: [f64; 4],
        colour: Colour,
        opacity: f64,
        covered: impl Fn(f64, f64) -> f64,
    ) {
        let span = |from: f64, to: f64, most: usize| {
            (from.floor() - 1.0).max(0.0) as usize..((to.ceil() + 1.0).max(0.0) as usize).min(most)
        };
        for y in span(top, bottom, self.height) {
            for x in span(left, right, self.width) {
                let share = covered(x as f64 + 0.5, y as f64 + 0.5).clamp(0.0, 1.0);
                self.blend(x, y, colour, opacity * share);
            }
        }
    }

    fn blend(&mut self, x: usize, y: usize, colour: Colour, share: f64) {
        if x >= self.width || y >= self.height || share <= 0.0 {
            return;
        }
        let at = 3 * (y * self.width + x);
        for (own, new) in self.pixels.iter_mut().skip(at).zip(colour) {
            *own = (f64::from(*own) + (f64::from(new) - f64::from(*own)) * share).round() as u8;
        }
    }

    /// Straight lines from point to point. Where two meet no pixel is drawn on twice.
    fn path(&mut self, points: &[(f64, f64)], width: f64, colour: Colour) {
        let half = width / 2.0;
        let mut cover = vec![0.0f32; self.width * self.height];
        for pair in points.windows(2) {
            let [(ax, ay), (bx, by)] = [pair[0], pair[1]];
            let (dx, dy) = (bx - ax, by - ay);
            let length = (dx * dx + dy * dy).max(1e-12);
            let range = |a: f64, b: f64, most: usize| {
                (a.min(b) - half - 1.0).floor().max(0.0) as usize
                    ..((a.max(b) + half + 2.0).max(0.0) as usize).min(most)
            };
            for y in range(ay, by, self.height) {
                // Only near the line: a long flat one has a tall box around it.
                for x in range(ax, bx, self.width) {
                    let (px, py) = (x as f64 + 0.5, y as f64 + 0.5);
                    let along = (((px - ax) * dx + (py - ay) * dy) / length).clamp(0.0, 1.0);
                    let far = libm::hypot(px - ax - along * dx, py - ay - along * dy);
                    let share = (half + 0.5 - far).clamp(0.0, 1.0) as f32;
                    let own = &mut cover[y * self.width + x];
                    *own = own.max(share);
                }
            }
        }
        for (at, share) in cover.into_iter().enumerate().filter(|(_, share)| *share > 0.0) {
            self.blend(at % self.width, at / self.width, colour, share.into());
        }
    }

    /// What a closed path holds, where it goes around once: by how much of each row of a pixel lies within.
    fn area(&mut self, points: &[(f64, f64)], colour: Colour, opacity: f64) {
        const ROWS: usize = 4;
        let mut covered = vec![0.0f64; self.width];
        for y in 0..self.height {
            covered.fill(0.0);
            for row in 0..ROWS {
                let at = y as f64 + (row as f64 + 0.5) / ROWS as f64;
                let ends = points.iter().zip(points.iter().cycle().skip(1));
                let mut crossed: Vec<f64> = ends
                    .filter(|(from, to)| (from.1 <= at) != (to.1 <= at))
                    .map(|(from, to)| from.0 + (at - from.1) / (to.1 - from.1) * (to.0 - from.0))
                    .collect();
                crossed.sort_by(f64::total_cmp);
                for [from, to] in crossed.as_chunks::<2>().0 {
                    let [left, right] = [from.max(0.0), to.min(self.width as f64)];
                    for (x, own) in
                        covered.iter_mut().enumerate().take(right.ceil() as usize).skip(left as usize)
                    {
                        let x = x as f64;
                        *own += ((x + 1.0).min(right) - x.max(left)).max(0.0) / ROWS as f64;
                    }
                }
            }
            for (x, share) in covered.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                self.blend(x, y, colour, opacity * share);
            }
        }
    }

    fn dashed(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: Colour) {
        let length = libm::hypot(to.0 - from.0, to.1 - from.1);
        let dash = 4.0 * SCALE;
        let place = |along: f64| {
            let share = (along / length.max(1e-9)).min(1.0);
            (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1))
        };
        let count = (length / (2.0 * dash)).ceil() as usize;
        for number in 0..count {
            let start = 2.0 * dash * number as f64;
            self.path(&[place(start), place(start + dash)], width, colour);
        }
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, style: TextStyle, anchor: TextAnchor) {
        // The letters were made with the program, and are there.
        let Ok(font) = FontRef::try_from_slice(FONT) else { return };
        let (size, colour) = match style {
            TextStyle::Title => (14.0, INK),
            TextStyle::Small => (10.0, SOFT),
            TextStyle::Plain | TextStyle::Turned => (12.0, SOFT),
        };
        // A size is that of an em, and the library's that of a line.
        let font_height = font.height_unscaled() / font.units_per_em().unwrap_or(2048.0);
        let font = font.as_scaled(PxScale::from(size * SCALE as f32 * font_height));
        let (mut glyphs, mut pen): (Vec<Glyph>, f32) = (Vec::new(), 0.0);
        for letter in text.chars() {
            let mut glyph = font.scaled_glyph(letter);
            glyph.position = point(pen, 0.0);
            pen += font.h_advance(glyph.id);
            glyphs.push(glyph);
        }
        let before = match anchor {
            TextAnchor::Start => 0.0,
            TextAnchor::Middle => f64::from(pen) / 2.0,
            TextAnchor::End => f64::from(pen),
        };
        for outline in glyphs.into_iter().filter_map(|glyph| font.outline_glyph(glyph)) {
            let bounds = outline.px_bounds();
            outline.draw(|gx, gy, share| {
                let across = f64::from(bounds.min.x) + f64::from(gx) - before;
                let down = f64::from(bounds.min.y) + f64::from(gy);
                let (px, py) = match style {
                    TextStyle::Turned => (x + down, y - across),
                    TextStyle::Title | TextStyle::Plain | TextStyle::Small => (x + across, y + down),
                };
                if px >= 0.0 && py >= 0.0 {
                    self.blend(px as usize, py as usize, colour, share.into());
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chart::{COLOURS, Chart, Mark, Series};
    use super::*;

    #[test]
    fn colours_are_those_of_the_light_page() {
        let hex = |colour: Colour| colour.map(|part| format!("{part:02x}")).concat();
        for (number, colour) in SERIES.into_iter().enumerate() {
            assert!(COLOURS.contains(&format!("--c{number}:#{}", hex(colour))), "{number}");
        }
        assert!(COLOURS.contains(&format!(
            "--ink:#{};--soft:#{};--line:#{}",
            hex(INK),
            hex(SOFT),
            hex(LINE)
        )));
    }

    #[test]
    fn bars_lines_dots_and_letters_are_where_they_belong() {
        let chart = Chart::new("Title", "x", "a name")
            .with(Series::of("bars", [(0.0, 1.0), (1.0, 3.0)], Mark::Bars))
            .with(Series::line("line", [(0.0, 0.0), (1.0, 4.0)]));
        let (pixels, size) = chart.pixels();
        assert_eq!((size.width, pixels.len()), (1120, 3 * size.width * size.height));
        let plane = size.width * size.height;
        let at = |x: usize, y: usize| [0, 1, 2].map(|channel| pixels[channel * plane + y * size.width + x]);
        let count = |colour: Colour, [left, right, top, bottom]: [usize; 4]| {
            let all = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
            all.filter(|(x, y)| at(*x, *y) == colour).count()
        };
        // The corners are empty, the title is ink at the top, the axis' name is turned at the left.
        assert_eq!(at(0, 0), GROUND);
        assert!(count(INK, [100, 220, 4, 50]) > 100, "the title");
        let beside = [0usize, 40, 100, size.height - 100];
        let soft: Vec<usize> =
            (beside[2]..beside[3]).filter(|y| (beside[0]..beside[1]).any(|x| at(x, *y) == SOFT)).collect();
        assert!(soft.last().unwrap() - soft[0] > 40, "{soft:?}");
        let bar = SERIES[0].map(|part| (255.0 + (f64::from(part) - 255.0) * 0.85).round() as u8);
        assert!(count(bar, [0, size.width, 0, size.height]) > 20_000, "the bars");
        assert!(count(SERIES[1], [0, size.width, 0, size.height]) > 1000, "the line");
    }
}
