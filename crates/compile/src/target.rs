//! What a device can do and likes: all that the compiler knows of it.

/// What programs are compiled for. A device states its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// What it is called, in messages: `cpu`.
    pub name: String,
    /// Bytes that the places of temporaries in the arena are a multiple of.
    pub alignment: usize,
}

impl Target {
    /// A target that can do everything and likes nothing in particular.
    pub fn plain(name: &str) -> Target {
        Target { name: name.to_string(), alignment: 64 }
    }
}
