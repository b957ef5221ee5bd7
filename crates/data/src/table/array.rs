//! A list of objects in JSON as lines of JSON, as they are read: `[{"a": 1}, {"a": 2}]` → `{"a": 1}` and `{"a": 2}` on lines of their
//! own. A line's end within an object is put behind it, so that lines keep their numbers.

use std::collections::VecDeque;
use std::io::{self, Read};

/// Reads a list as lines.
pub(super) struct ArrayLines<R> {
    inner: R,
    place: ListPosition,
    /// How many objects and lists are open.
    depth: usize,
    quoted: bool,
    escaped: bool,
    /// Line ends within the object that is open.
    held: usize,
    /// Whether an object has come since the last line's end.
    begun: bool,
    /// Rewritten and not handed out yet.
    ready: VecDeque<u8>,
}

#[derive(PartialEq)]
enum ListPosition {
    Before,
    Within,
    Behind,
}

impl<R: Read> ArrayLines<R> {
    pub(super) fn new(inner: R) -> ArrayLines<R> {
        ArrayLines {
            inner,
            place: ListPosition::Before,
            depth: 0,
            quoted: false,
            escaped: false,
            held: 0,
            begun: false,
            ready: VecDeque::new(),
        }
    }

    /// Rewrites bytes as they come.
    fn turn(&mut self, bytes: &[u8]) {
        let out = &mut self.ready;
        for &byte in bytes {
            if self.quoted {
                self.quoted = byte != b'"' || self.escaped;
                self.escaped = byte == b'\\' && !self.escaped;
                out.push_back(byte);
                continue;
            }
            match byte {
                b'[' if self.place == ListPosition::Before => self.place = ListPosition::Within,
                b']' if self.place == ListPosition::Within && self.depth == 0 => {
                    self.place = ListPosition::Behind
                }
                b',' if self.place == ListPosition::Within && self.depth == 0 => out.push_back(b' '),
                b'\n' if self.depth > 0 => {
                    self.held += 1;
                    out.push_back(b' ');
                }
                b'\n' => {
                    self.begun = false;
                    out.push_back(byte);
                }
                b'{' | b'[' => {
                    if self.depth == 0 && std::mem::replace(&mut self.begun, true) {
                        out.push_back(b'\n');
                    }
                    self.depth += 1;
                    out.push_back(byte);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    out.push_back(byte);
                    if self.depth == 0 && self.held > 0 {
                        out.extend(std::iter::repeat_n(b'\n', std::mem::take(&mut self.held)));
                        self.begun = false;
                    }
                }
                _ => {
                    self.quoted = byte == b'"';
                    out.push_back(byte);
                }
            }
        }
    }
}

impl<R: Read> Read for ArrayLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() {
            let mut bytes = vec![0; buffer.len().clamp(1, 64 << 10)];
            let read = self.inner.read(&mut bytes)?;
            if read == 0 {
                if self.place == ListPosition::Within {
                    let message = "the list of JSON isn't closed by a ]; the file may be cut off";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                return Ok(0);
            }
            self.turn(&bytes[..read]);
        }
        self.ready.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, piece: usize) -> io::Result<String> {
        /// Gives a few bytes at a time.
        struct Slowly<'a>(&'a [u8], usize);
        impl Read for Slowly<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(buffer.len());
                (&mut self.0).take(count as u64).read(&mut buffer[..count])
            }
        }
        let mut out = String::new();
        ArrayLines::new(Slowly(text.as_bytes(), piece)).read_to_string(&mut out).map(|_| out)
    }

    #[test]
    fn objects_come_out_one_a_line_and_lines_keep_their_numbers() {
        let text = "[\n {\"a\": 1,\n  \"b\": \"x],\\\"{\"},\n {\"a\": [2, {}]}]\n";
        for piece in [1, 3, 1000] {
            let out = lines(text, piece).unwrap();
            let rows: Vec<(usize, &str)> =
                out.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()).collect();
            assert_eq!(rows.len(), 2, "{out:?}");
            assert_eq!(rows[0], (1, "{\"a\": 1,   \"b\": \"x],\\\"{\"}"));
            assert_eq!(rows[1], (3, "{\"a\": [2, {}]}"));
        }
        assert!(lines("[{\"a\": 1}", 1000).is_err());
        assert_eq!(lines("[]", 1000).unwrap(), "");
    }
}
