//! What a device can do and likes: all that the compiler knows of it.

use kiln_ir::DType;

use crate::program::Work;

/// What programs are compiled for. A device states its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// What it is called, in messages: `cpu`.
    pub name: String,
    /// Dtypes that its memory holds.
    pub stores: Vec<DType>,
    /// Dtypes that its kernels compute in.
    pub computes: Vec<DType>,
    /// The most buffers that a kernel may touch.
    pub most_bindings: usize,
    /// The most loops that a kernel may have.
    pub most_loops: usize,
    /// Whether the host can do work in the middle of a program: operations of the user's own.
    pub host: bool,
    /// Bytes that the places of temporaries in the arena are a multiple of.
    pub alignment: usize,
    /// Where convolutions like the channels of an image.
    pub channels: Channels,
    /// Bytes of the memories between a core and main memory, the smallest and nearest first.
    pub caches: Vec<usize>,
    /// Whether it has a kernel for attention. Where not, attention is written out in other operations.
    pub attention: bool,
    /// How much becomes one kernel.
    pub fusion: Fusion,
    /// When folds are cut into blocks.
    pub split: Split,
}

/// When a fold is cut into blocks, so that several cores share one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// With so many results there is work for everybody.
    pub enough_results: usize,
    /// Points that are worth a block of their own.
    pub grain: usize,
    /// The most blocks.
    pub most_blocks: usize,
}

impl Split {
    /// Into how many blocks the folds of a kernel are cut.
    pub fn blocks(&self, work: &Work) -> usize {
        let Work::Fused(fused) = work else { return 1 };
        let folded = fused.folded();
        let results = fused.loops.iter().product::<usize>() / folded.max(1);
        if results >= self.enough_results { 1 } else { (folded / self.grain).clamp(1, self.most_blocks) }
    }
}

impl Default for Split {
    fn default() -> Split {
        Split { enough_results: 1024, grain: 4096, most_blocks: 1024 }
    }
}

/// Where the channels of an image lie that a convolution reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Next to each other: `[batch, spatial…, channels]`.
    Last,
    /// Wherever they are: nothing is copied for it.
    Anywhere,
}

/// How much becomes one kernel: what a kernel costs against what it saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fusion {
    /// The most operations in one kernel. Past it a kernel gains nothing, and planning costs more than it saves.
    pub most_members: usize,
    /// Elements of a value from which on it is worth reading once for several kernels.
    pub worth_sharing: usize,
    /// With so many readers of one value each reader is compared for that.
    pub most_siblings: usize,
    /// The fewest scales and shifts in a row that are worth joining into one of each.
    pub worth_joining: usize,
    /// Whether kernels compute cheap values again that others have computed, where that takes less memory and traffic.
    pub recomputes: bool,
}

impl Default for Fusion {
    fn default() -> Fusion {
        Fusion { most_members: 64, worth_sharing: 1024, most_siblings: 8, worth_joining: 3, recomputes: true }
    }
}

impl Target {
    /// A target that can do everything and likes nothing in particular.
    pub fn plain(name: &str) -> Target {
        Target {
            name: name.to_string(),
            stores: DType::ALL.to_vec(),
            computes: DType::ALL.to_vec(),
            most_bindings: usize::MAX,
            most_loops: usize::MAX,
            host: true,
            alignment: 64,
            channels: Channels::Anywhere,
            caches: Vec::new(),
            attention: true,
            fusion: Fusion::default(),
            split: Split::default(),
        }
    }

    /// The dtype in which memory holds numbers of `dtype`: itself, or the one that stands for it. `None`: they can't be held.
    pub fn stored(&self, dtype: DType) -> Option<DType> {
        [dtype, stand_in(dtype)].into_iter().find(|dtype| self.stores.contains(dtype))
    }

    /// The dtype in which kernels compute with numbers of `dtype`: itself, or the one that stands for it, which memory can
    /// hold too (truth values may be held as something else). `None`: they can't compute with them.
    pub fn computed(&self, dtype: DType) -> Option<DType> {
        let kept = |dtype: &DType| {
            self.computes.contains(dtype) && (self.stores.contains(dtype) || *dtype == DType::Bool)
        };
        [dtype, stand_in(dtype)].into_iter().find(kept)
    }

    /// The dtype of positions and indices.
    pub fn index(&self) -> DType {
        self.computed(DType::I64).unwrap_or(DType::I64)
    }
}

/// The dtype that stands for another where a target doesn't have that.
fn stand_in(dtype: DType) -> DType {
    match dtype {
        DType::Bool | DType::U8 | DType::U16 | DType::I64 => DType::I32,
        DType::F16 | DType::Bf16 => DType::F32,
        DType::I32 | DType::F32 | DType::F64 => dtype,
    }
}
