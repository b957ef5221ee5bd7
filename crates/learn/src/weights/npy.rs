//! NumPy's `.npy`: a magic word, a description as a Python dictionary, and the numbers; and `.npz`, a zip archive of those.
//! Either order of bytes and of axes is read; written are little-endian, row-major ones.

use std::collections::BTreeMap;

use kiln_map::shown;
use kiln_nn::{DType, Data};

use super::entry::{Contents, Entry, TensorPlace, row_major};
use super::{ElementType, Read, zip};
use crate::store::{HostTensor, elements};

const MAGIC: &[u8] = b"\x93NUMPY";

/// No description of numbers is longer.
const MOST_HEAD: usize = 1 << 16;

/// The name of a `.npy`'s only tensor.
const NAME: &str = "array";

/// What stands before the numbers.
#[derive(Debug, PartialEq)]
struct NpyHeader {
    /// The type: order of bytes and code, as `<f4`.
    descr: String,
    is_fortran: bool,
    shape: Vec<usize>,
    /// Where the numbers start.
    size: usize,
}

pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads a `.npy`.
pub(super) fn read(bytes: &[u8]) -> Read<Contents> {
    let place = TensorPlace { range: 0..bytes.len(), ..TensorPlace::default() };
    let head = NpyHeader::read(bytes)?;
    let element = element(&head.descr)?;
    Contents::new(vec![head.entry(NAME, element, place)?], Vec::new())
}

/// Reads a `.npz`. Arrays of what are no numbers are left out, with a note.
pub(super) fn read_npz(bytes: &[u8]) -> Read<Contents> {
    let (mut entries, mut notes) = (Vec::new(), Vec::new());
    for packed in zip::read(bytes)? {
        let Some(name) = packed.name.strip_suffix(".npy") else {
            notes.push((packed.name, "no array".to_string()));
            continue;
        };
        let fault = |error: String| format!("{}: {error}", shown(name));
        let start = zip::beginning(bytes, &packed.place, MOST_HEAD + 12).map_err(fault)?;
        let head = NpyHeader::read(&start).map_err(fault)?;
        match element(&head.descr) {
            Ok(element) => entries.push(head.entry(name, element, packed.place).map_err(fault)?),
            Err(why) => notes.push((name.to_string(), why)),
        }
    }
    Contents::new(entries, notes)
}

/// The type and whether it is big-endian.
fn element(descr: &str) -> Read<(ElementType, bool)> {
    let unknown = || format!("its type is {}; kiln reads numbers and truth values", shown(descr));
    if descr.starts_with("|O") {
        return Err("it holds Python's objects, which only Python reads; save arrays of numbers, \
                    array.astype(\"float32\")"
            .to_string());
    }
    let order = descr.chars().next().filter(|order| "<>|=".contains(*order)).ok_or_else(unknown)?;
    let element = ElementType::from_npy(&descr[1..]).ok_or_else(unknown)?;
    Ok((element, order == '>'))
}

impl NpyHeader {
    /// From the start of a file.
    fn read(bytes: &[u8]) -> Read<NpyHeader> {
        let cut = || "its description is cut off".to_string();
        let rest = bytes.strip_prefix(MAGIC).ok_or("it doesn't start as an npy file does")?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let (length, width) = match version[0] {
            1 => (rest.first_chunk().map(|&size| usize::from(u16::from_le_bytes(size))), 2),
            2 | 3 => (rest.first_chunk().map(|&size| u32::from_le_bytes(size) as usize), 4),
            other => return Err(format!("it is of version {other}; kiln reads versions 1 to 3")),
        };
        let length = length.ok_or_else(cut)?;
        if length > MOST_HEAD {
            return Err(format!("its description has {length} bytes, more than numbers need"));
        }
        let text = rest.get(width..width + length).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "its description is no text")?;
        let size = MAGIC.len() + 2 + width + length;
        DictParser { rest: text, size }
            .read()
            .ok_or_else(|| format!("its description can't be read: {}", shown(text.trim_end())))
    }

    /// The tensor whose head this is; the place holds it and nothing else.
    fn entry(
        self,
        name: &str,
        (element, is_big_endian): (ElementType, bool),
        place: TensorPlace,
    ) -> Read<Entry> {
        let total = place.unpacked.unwrap_or(place.range.len());
        let expected =
            elements(&self.shape).and_then(|count| count.checked_mul(element.size())?.checked_add(self.size));
        if expected != Some(total) {
            let stored = total.saturating_sub(self.size);
            return Err(format!(
                "its shape {:?} of {element} doesn't take the {stored} bytes stored; it is cut off or damaged",
                self.shape
            ));
        }
        let strides = self.is_fortran.then(|| {
            let turned: Vec<usize> = self.shape.iter().rev().copied().collect();
            row_major(&turned).into_iter().rev().collect()
        });
        let place = TensorPlace { head: self.size, ..place };
        Ok(Entry {
            name: name.to_string(),
            element,
            shape: self.shape,
            place,
            strides,
            offset: 0,
            is_big_endian,
        })
    }
}

/// The Python dictionary, read from the left: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct DictParser<'a> {
    rest: &'a str,
    size: usize,
}

impl<'a> DictParser<'a> {
    fn read(mut self) -> Option<NpyHeader> {
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        self.word("{").then_some(())?;
        while !self.word("}") {
            let key = self.text()?;
            self.word(":").then_some(())?;
            match key {
                "descr" if descr.is_none() => descr = Some(self.descr()?),
                "fortran_order" if is_fortran.is_none() => {
                    is_fortran = Some(self.word("True"));
                    (is_fortran == Some(true) || self.word("False")).then_some(())?;
                }
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                _ => return None,
            }
            if !self.word(",") {
                self.word("}").then_some(())?;
                break;
            }
        }
        let size = self.size;
        self.rest.trim().is_empty().then_some(())?;
        Some(NpyHeader { descr: descr?, is_fortran: is_fortran?, shape: shape?, size })
    }

    /// Whether this comes next; then it is taken.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(word) {
            Some(after) => self.rest = after,
            None => self.rest = rest,
        }
        self.rest.len() != rest.len()
    }

    fn text(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|quote| "'\"".contains(*quote))?;
        let (text, after) = rest[1..].split_once(quote)?;
        self.rest = after;
        Some(text)
    }

    /// A type; one of several fields is taken as its text, which no type of numbers is.
    fn descr(&mut self) -> Option<String> {
        if let Some(text) = self.text() {
            return Some(text.to_string());
        }
        let mut depth = 0usize;
        for (at, letter) in self.rest.char_indices() {
            match letter {
                '[' | '(' => depth += 1,
                ']' | ')' => depth = depth.checked_sub(1)?,
                ',' | '}' if depth == 0 => {
                    let (descr, after) = self.rest.split_at(at);
                    self.rest = after;
                    return Some(descr.to_string());
                }
                _ => {}
            }
        }
        None
    }

    fn shape(&mut self) -> Option<Vec<usize>> {
        self.word("(").then_some(())?;
        let mut shape = Vec::new();
        while !self.word(")") {
            let digits = self.rest.find(|letter: char| !letter.is_ascii_digit())?;
            let (size, after) = self.rest.split_at(digits);
            shape.push(size.parse().ok()?);
            // Python 2 wrote long numbers so.
            self.rest = after.strip_prefix('L').unwrap_or(after);
            if !self.word(",") {
                self.word(")").then_some(())?;
                break;
            }
        }
        Some(shape)
    }
}

/// A tensor as the bytes of a `.npy`. NumPy has no bf16: it becomes f32, which holds it.
pub(super) fn write(stored: &HostTensor) -> Vec<u8> {
    let widened;
    let data: &Data = match stored.data.dtype() {
        DType::Bf16 => {
            widened = stored.data.cast(DType::F32);
            &widened
        }
        _ => &stored.data,
    };
    let element = ElementType::of(data.dtype());
    let order = if element.size() == 1 { '|' } else { '<' };
    let code = element.npy().unwrap_or("f4");
    let sizes: String = stored.shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if stored.shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut head = format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The numbers start at a multiple of 64, after a new line.
    let before = MAGIC.len() + 4;
    let end = (before + head.len() + 1).next_multiple_of(64);
    head.extend(std::iter::repeat_n(' ', end - before - head.len() - 1));
    head.push('\n');
    let mut bytes = [MAGIC, &[1, 0], &(head.len() as u16).to_le_bytes(), head.as_bytes()].concat();
    bytes.extend(data.to_le_bytes());
    bytes
}

/// Tensors as the bytes of a `.npz`.
pub(super) fn write_npz(tensors: &BTreeMap<String, HostTensor>) -> Read<Vec<u8>> {
    let mut archive = zip::ZipWriter::new();
    for (name, stored) in tensors {
        archive.add(&format!("{name}.npy"), &write(stored))?;
    }
    Ok(archive.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(head: &str, numbers: &[u8]) -> Vec<u8> {
        let size = (head.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &size, head.as_bytes(), numbers].concat()
    }

    fn numbers(bytes: &[u8]) -> Read<(Vec<usize>, Data)> {
        let contents = read(bytes)?;
        let entry = &contents.entries[0];
        Ok((entry.shape.clone(), entry.element.decode(&entry.bytes(bytes)?)?))
    }

    #[test]
    fn either_order_of_bytes_and_of_axes_is_read() {
        let big = file("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }\n", &[1, 2, 255, 254]);
        assert_eq!(numbers(&big), Ok((vec![2], Data::I32(vec![258, -2]))));
        let fortran = file("{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}", &[1, 4, 2, 5, 3, 6]);
        assert_eq!(numbers(&fortran), Ok((vec![2, 3], Data::U8(vec![1, 2, 3, 4, 5, 6]))));
        let scalar = file("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", &1.5f32.to_le_bytes());
        assert_eq!(numbers(&scalar), Ok((vec![], Data::F32(vec![1.5]))));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused_with_a_reason() {
        let refused = |head: &str, reason: &str| {
            let error = read(&file(head, &[0; 8])).unwrap_err();
            assert!(error.contains(reason), "{head}: {error}");
        };
        refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python's objects");
        refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "('a', '<f4')");
        refused("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "<c8");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "[3]");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "can't be read");
        refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", "8 bytes");
        refused("__import__('os').system('x')", "can't be read");
    }

    #[test]
    fn what_is_written_is_read() {
        for (shape, data) in [
            (vec![], Data::F64(vec![0.1])),
            (vec![3], Data::Bool(vec![true, false, true])),
            (vec![2, 0], Data::I64(vec![])),
            (vec![2, 1], Data::F16(vec![half::f16::ONE, half::f16::NEG_INFINITY])),
        ] {
            let bytes = write(&HostTensor { shape: shape.clone(), data: data.clone() });
            assert_eq!(bytes.len() % 64, data.to_le_bytes().len() % 64);
            assert_eq!(numbers(&bytes), Ok((shape, data)));
        }
        let widened = write(&HostTensor { shape: vec![1], data: Data::Bf16(vec![half::bf16::ONE]) });
        assert_eq!(numbers(&widened), Ok((vec![1], Data::F32(vec![1.0]))));
    }
}
