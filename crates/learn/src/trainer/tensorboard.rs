//! Event files that TensorBoard reads: framed records with checksums, each a protobuf message written out by hand.

use std::fs::{File, create_dir_all};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::callback::{Callback, Moment};
use crate::checksum::crc32c;
use crate::{Error, Result};

/// Writes the loss every so many steps and all numbers of each epoch to a folder; look at it with `tensorboard --logdir`.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    every: u64,
    file: Option<(PathBuf, File)>,
}

impl TensorBoard {
    /// A file of its own for each session of the training, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> TensorBoard {
        TensorBoard { folder: folder.into(), every: 50, file: None }
    }

    /// Writes the loss of every so many steps; 50 unless told otherwise.
    pub fn every_steps(self, steps: u64) -> TensorBoard {
        TensorBoard { every: steps.max(1), ..self }
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(&record(event)).map_err(Error::file(path))
    }
}

impl Callback for TensorBoard {
    fn before(&mut self, _at: &mut Moment) -> Result<()> {
        create_dir_all(&self.folder).map_err(Error::file(&self.folder))?;
        let (now, process) = (now(), std::process::id());
        // Names sort by time; TensorBoard reads the files of a folder one after the other.
        let name = format!("events.out.tfevents.{:020.6}.kiln.{process}", now);
        let path = self.folder.join(name);
        let file = File::create(&path).map_err(Error::file(&path))?;
        self.file = Some((path, file));
        let mut event = Vec::new();
        double(&mut event, 1, now);
        bytes(&mut event, 3, b"brain.Event:2");
        self.write(&event)
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        match at.step.is_multiple_of(self.every) {
            true => self.write(&scalars(at.step, [("step/loss", at.loss), ("step/rate", at.rate)])),
            false => Ok(()),
        }
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        let numbers = at.numbers.iter().map(|(name, number)| (name.as_str(), *number));
        self.write(&scalars(at.step, numbers))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// An event with a number for each tag.
fn scalars<'a>(step: u64, numbers: impl IntoIterator<Item = (&'a str, f64)>) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in numbers {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, 5);
        value.extend((number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = Vec::new();
    double(&mut event, 1, now());
    key(&mut event, 2, 0);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    event
}

/// Length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| crc32c(0, bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// A field's number and how it is written: 0 a varint, 1 eight bytes, 2 bytes with their length, 5 four bytes.
fn key(into: &mut Vec<u8>, field: u64, wire: u64) {
    varint(into, field << 3 | wire);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn double(into: &mut Vec<u8>, field: u64, value: f64) {
    key(into, field, 1);
    into.extend(value.to_le_bytes());
}

fn bytes(into: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(into, field, 2);
    varint(into, value.len() as u64);
    into.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_message_that_tensorflow_writes() {
        // Made with TensorBoard's own protocol buffers (`Event(step=300, summary=…)`), without the time.
        let event = scalars(300, [("loss", 0.5)]);
        assert_eq!(event[0], 0x09);
        let expected = [
            0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04, b'l', b'o', b's', b's', 0x15, 0, 0, 0, 0x3f,
        ];
        assert_eq!(event[9..], expected);
    }

    #[test]
    fn a_record_is_framed_by_its_length_and_two_sums() {
        let framed = record(b"abc");
        assert_eq!(framed.len(), 8 + 4 + 3 + 4);
        assert_eq!(framed[..8], 3u64.to_le_bytes());
        assert_eq!(&framed[12..15], b"abc");
    }
}
