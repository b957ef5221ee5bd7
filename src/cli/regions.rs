//! A picture in the terminal of which class a model gives to each place in the plane.

use std::fmt::Write;

use anyhow::Result;
use kiln::data::Batch;

/// Columns and rows of the picture. A cell is about twice as high as wide, which makes the picture square.
const COLUMNS: usize = 60;
const ROWS: usize = 28;

/// The colours of classes as numbers of the terminal's 256: a dark one for regions, a light one for points.
const COLOURS: [(u8, u8); 6] = [(24, 117), (94, 215), (22, 120), (90, 213), (58, 228), (52, 210)];

/// The square that is drawn: from `-reach` to `reach` both ways.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    pub reach: f32,
}

impl Square {
    /// The middle of every cell, row by row from the top: `[rows * columns, 2]`.
    pub fn cells(self) -> Vec<f32> {
        let middle =
            |cell: usize, cells: usize| ((cell as f32 + 0.5) / cells as f32 * 2.0 - 1.0) * self.reach;
        let row = |row| (0..COLUMNS).flat_map(move |column| [middle(column, COLUMNS), -middle(row, ROWS)]);
        (0..ROWS).flat_map(row).collect()
    }

    /// The cell a point lies in, if it is in the picture.
    fn cell(self, x: f32, y: f32) -> Option<usize> {
        let position = |value: f32, cells: usize| {
            let share = (value / self.reach + 1.0) / 2.0;
            (0.0..1.0).contains(&share).then_some((share * cells as f32) as usize)
        };
        Some(position(-y, ROWS)? * COLUMNS + position(x, COLUMNS)?)
    }
}

/// Draws the class of each cell, and on it those of the points. Without colour regions are small letters and points
/// capital ones.
pub fn draw(square: Square, classes: &[i64], points: &Batch, colour: bool) -> Result<String> {
    let mut shown: Vec<Option<i64>> = vec![None; COLUMNS * ROWS];
    let (x, labels) = (points.x.as_f32().unwrap_or_default(), points.y.as_i64().unwrap_or_default());
    for (position, &label) in x.chunks_exact(2).zip(labels) {
        if let Some(cell) = square.cell(position[0], position[1]) {
            shown[cell] = Some(label);
        }
    }
    let mut text = String::new();
    for (row, cells) in classes.chunks(COLUMNS).enumerate() {
        text.push_str("  ");
        for (column, &class) in cells.iter().enumerate() {
            let point = shown[row * COLUMNS + column];
            if colour {
                let (region, _) = COLOURS[class as usize % COLOURS.len()];
                write!(text, "\x1b[48;5;{region}m")?;
                match point {
                    Some(label) => write!(text, "\x1b[38;5;{}m●", COLOURS[label as usize % COLOURS.len()].1)?,
                    None => text.push(' '),
                }
            } else {
                text.push(letter(point.unwrap_or(class), point.is_some()));
            }
        }
        text.push_str(if colour { "\x1b[0m\n" } else { "\n" });
    }
    Ok(text)
}

/// The letter of a class.
fn letter(class: i64, capital: bool) -> char {
    let first = if capital { b'A' } else { b'a' };
    (first + (class.rem_euclid(26)) as u8) as char
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::data::{Dataset, Form, Set};

    #[test]
    fn cells_and_points_meet() {
        let square = Square { reach: 1.25 };
        for (cell, middle) in square.cells().chunks_exact(2).enumerate() {
            assert_eq!(square.cell(middle[0], middle[1]), Some(cell));
        }
        assert_eq!(square.cell(2.0, 0.0), None);
        assert_eq!(square.cell(f32::NAN, 0.0), None);
    }

    #[test]
    fn points_are_capital_letters_on_their_regions() {
        let square = Square { reach: 1.0 };
        let point = Set::classes(vec![-0.999f32, 0.999], Form::numbers(&[2]), vec![2]).unwrap();
        let text = draw(square, &[1; COLUMNS * ROWS], &point.all().unwrap(), false).unwrap();
        assert!(text.starts_with("  Cbbb"), "{text}");
        assert_eq!(text.lines().count(), ROWS);
    }
}
