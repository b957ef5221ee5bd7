//! What all connections of a server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_learn::Result;

use crate::body::BodyRoom;
use crate::lane::WorkLane;
use crate::metrics::ServerMetrics;
use crate::models::Models;
use crate::options::ServeOptions;
use crate::sources::Source;

/// So many pictures are decoded at once: a small file may be a large picture.
const DECODERS: usize = 2;

/// The models, the limits and the counts.
pub struct Service {
    /// How it serves.
    pub options: ServeOptions,
    /// What it serves.
    pub models: Models,
    /// What is counted.
    pub metrics: ServerMetrics,
    /// The memory of bodies.
    pub room: Arc<BodyRoom>,
    /// Where texts are written and read.
    pub lane: WorkLane,
    /// Where pictures are decoded.
    pub decoders: WorkLane,
    stops: AtomicBool,
}

impl Service {
    /// With these models.
    ///
    /// # Errors
    /// As [`Models::open`].
    pub fn new(sources: Vec<Source>, options: ServeOptions) -> Result<Service> {
        Ok(Service {
            models: Models::open(sources, options.batching())?,
            metrics: ServerMetrics::default(),
            room: BodyRoom::new(options.body_memory),
            lane: WorkLane::new(options.writers, options.queue),
            decoders: WorkLane::new(DECODERS, options.queue),
            stops: AtomicBool::new(false),
            options,
        })
    }

    /// Says that nothing new is taken.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// Whether nothing new is taken.
    pub fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
}
