//! The reference device's memory: bytes that programs replace as wholes, and that know which work will write them.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_device::Memory;
use kiln_ir::{Error, ErrorKind, Result};

use crate::queue::{Queue, Ticket};

/// Memory of a variable, an argument or an output.
#[derive(Debug)]
pub(crate) struct ReferenceMemory {
    contents: Arc<Mutex<MemoryContents>>,
    bytes: usize,
    queue: Arc<Queue>,
}

/// What the memory holds.
#[derive(Debug)]
pub(crate) struct MemoryContents {
    pub(crate) bytes: Vec<u8>,
    /// Why they aren't what they should be.
    pub(crate) error: Option<Error>,
    /// The last work that was started and writes them.
    pub(crate) written: Ticket,
    /// The last work that was started and uses them.
    pub(crate) used: Ticket,
}

impl ReferenceMemory {
    /// So many zeroed bytes.
    pub(crate) fn zeroed(bytes: usize, queue: Arc<Queue>) -> Result<ReferenceMemory> {
        let mut zeros = Vec::new();
        zeros.try_reserve_exact(bytes).map_err(|_| {
            Error::new(ErrorKind::Device, "allocate", format!("no memory for {bytes} bytes")).nowhere()
        })?;
        zeros.resize(bytes, 0);
        let contents =
            MemoryContents { bytes: zeros, error: None, written: Ticket::default(), used: Ticket::default() };
        Ok(ReferenceMemory { contents: Arc::new(Mutex::new(contents)), bytes, queue })
    }

    /// The contents, to be shared with work.
    pub(crate) fn contents(&self) -> &Arc<Mutex<MemoryContents>> {
        &self.contents
    }

    /// Whether it is memory of the device with this queue.
    pub(crate) fn is_of(&self, queue: &Arc<Queue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }

    fn check(&self, what: &str, len: usize) -> Result<()> {
        if len == self.bytes {
            return Ok(());
        }
        let message = format!("the memory has {} bytes, not {len}", self.bytes);
        Err(Error::new(ErrorKind::Shape, what, message).nowhere())
    }
}

/// The contents, whatever happened to whoever held them before.
pub(crate) fn lock(contents: &Mutex<MemoryContents>) -> MutexGuard<'_, MemoryContents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory for ReferenceMemory {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn read(&self, target: &mut [u8]) -> Result<()> {
        self.check("read", target.len())?;
        let written = lock(&self.contents).written;
        self.queue.wait(written);
        let mut contents = lock(&self.contents);
        if let Some(error) = contents.error.take() {
            // The bytes are those from before, as after an error that came at once.
            self.queue.told(&error);
            return Err(error);
        }
        target.copy_from_slice(&contents.bytes);
        Ok(())
    }

    fn write(&self, source: &[u8]) -> Result<()> {
        self.check("write", source.len())?;
        let mut contents = lock(&self.contents);
        if self.queue.is_done(contents.used) {
            contents.bytes.copy_from_slice(source);
            contents.error = None;
            return Ok(());
        }
        // Work that was started before uses what is there: this comes behind it.
        let (place, source) = (self.contents.clone(), source.to_vec());
        let work = move || {
            let mut contents = lock(&place);
            contents.bytes.copy_from_slice(&source);
            contents.error = None;
            Ok(())
        };
        let announce = |ticket| (contents.written, contents.used) = (ticket, ticket);
        self.queue.start(announce, Box::new(work));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
