//! What a device runs: buffers and a straight list of few kinds of kernel. Everything is static: shapes, strides,
//! offsets and the memory plan are fixed here, and no kernel looks at a shape's meaning again.

mod attention;
mod work;

mod operation;
mod repeat;

use std::panic::Location;

pub use attention::{Attention, AttentionPass, AttentionSizes};
pub use kiln_ir::kind::{ConvKind, WindowKind};
use kiln_ir::op::{ArgOp, BlockFormat, CustomOp, ScatterMode, Shared, VariableHandle};
use kiln_ir::{DType, Shape};
pub use operation::{Instruction, Operation};
pub use repeat::{Repeat, Whereabouts};

/// The position of a buffer in [`Program::buffers`].
pub type BufferId = usize;

/// A compiled graph.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Every piece of memory that kernels touch.
    pub buffers: Vec<Buffer>,
    /// The kernels in the order they run.
    pub kernels: Vec<Kernel>,
    /// Which kernels run several times; those that contain others come first.
    pub repeats: Vec<Repeat>,
    /// So many of the first kernels read nothing but variables that the program doesn't write, and each other: what they
    /// store stays as it is until such a variable changes, and is nobody else's place meanwhile.
    pub hoisted: usize,
    /// Variables the program reads or writes, each once; a [`BufferPlace::Variable`] counts through them. One is the same as
    /// another program's where their addresses ([`Shared::address`]) are; across runs its name tells it.
    pub variables: Vec<Shared<dyn VariableHandle>>,
    /// Which of the variables are written.
    pub written: Vec<bool>,
    /// Shape and dtype of each argument.
    pub inputs: Vec<(Shape, DType)>,
    /// Shape and dtype of each output. Outputs are row-major.
    pub outputs: Vec<(Shape, DType)>,
    /// Bytes of the arena that temporaries share.
    pub arena: usize,
}

/// One piece of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Where it is.
    pub place: BufferPlace,
    /// What it holds. Of an argument, output or variable it may be another dtype than that is handed over in, where the target
    /// doesn't store that; the device converts.
    pub dtype: DType,
    /// How many elements.
    pub elements: usize,
}

/// Where a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferPlace {
    /// The caller's argument with this position; read only, row-major.
    Input(usize),
    /// A variable's storage, row-major.
    Variable(usize),
    /// The output with this position.
    Output(usize),
    /// Bytes of the arena from this offset, a multiple of 64. Temporaries whose lives don't overlap share them.
    Arena(usize),
    /// Part of an earlier buffer that moves with the steps of the [`Repeat`] whose slice it is: in step `k` it begins
    /// `start + k · step` elements into `of`.
    Slice {
        /// The buffer.
        of: BufferId,
        /// Where it begins in the first step.
        start: usize,
        /// How far it moves from step to step.
        step: isize,
    },
}

/// Elements of a buffer along the loops of a kernel: the element at loop indices `i` is at
/// `offset + Σ i[d] · strides[d]`.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The buffer looked at.
    pub buffer: BufferId,
    /// The dtype its elements are stored in.
    pub dtype: DType,
    /// The element at loop indices zero.
    pub offset: isize,
    /// The distance in elements between neighbours along each loop; 0 where the loop doesn't move it.
    pub strides: Vec<isize>,
}

/// One kernel and what people want to know of it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it does.
    pub work: Work,
    /// A short name made of the operations in it, for printing: `matmul+add+relu`.
    pub label: String,
    /// The user's line of its last operation.
    pub at: Option<&'static Location<'static>>,
    /// Arithmetic operations.
    pub operations: u64,
    /// Bytes read and written, each operand counted once.
    pub bytes: u64,
    /// How many blocks a fold is best cut into that has too few results to keep the target busy: consecutive and of equal
    /// size but for the last, their partial results folded in order. It follows from sizes alone; 1 where nothing is cut.
    pub blocks: usize,
    /// Whether what is stored depends on the order of the points: a scatter whose indices may repeat. Everything else
    /// stores each element once, or adds integers.
    pub ordered: bool,
}

/// The few kinds of kernel.
#[derive(Clone, Debug)]
pub enum Work {
    /// Pointwise work and reductions over one loop nest.
    Fused(Fused),
    /// A matrix product and what follows it.
    Matmul(Matmul),
    /// A convolution or one of its gradients and what follows it.
    Conv(Conv),
    /// Pooling and its adjoints.
    Window(Window),
    /// `out[…, i, …] = x[…, index[…, i, …], …]`; all views run over the index's sizes but `x`, whose stride along
    /// `axis` is between its own elements.
    Gather(Indexed),
    /// `out[…, index[…, i, …], …] = source[…, i, …]` (or `+=`), in row-major order of the index; `out` holds the base
    /// already. `x` is the source.
    Scatter(Indexed, ScatterMode),
    /// The position of the extreme along the last loop.
    ArgReduce(ArgOp, AlongAxis),
    /// The running sum along the last loop.
    CumSum(AlongAxis),
    /// The sorting permutation along the last loop; `true`: largest first.
    ArgSort(bool, AlongAxis),
    /// Packed numbers, unpacked.
    Unpack(Unpack),
    /// Attention, or gradients of it.
    Attention(Box<Attention>),
    /// A user's operation; all views are row-major.
    Custom(Custom),
}

/// Pointwise work and reductions: a straight-line program over every point of a loop nest.
///
/// Values are of two extents. A *full* value has one number for each point. A *kept* value has one for each
/// combination of the loops that aren't reduced; it comes from a reduction, or from loads and arithmetic that no
/// reduced loop moves, and a full instruction may use it (it is repeated along the reduced loops). What uses the result of a
/// reduction may only be computed when that reduction is complete: for each kept point the loops run once more for
/// each level of reductions.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Sizes of the loops, outermost first. None is zero or (but for a lone one) one.
    pub loops: Vec<usize>,
    /// Which loops are reduced, for each loop.
    pub reduced: Vec<bool>,
    /// Where values come from; strides for each loop.
    pub loads: Vec<View>,
    /// The instructions; instruction `i` makes value `i` from earlier ones.
    pub body: Vec<Instruction>,
    /// Where values go. A kept value's view doesn't move along reduced loops. A store may go to the very elements that a
    /// load of the same kernel reads (same buffer, offset and strides), and then follows it point by point: none of the loads is
    /// [overwritten](Fused::overwritten). Otherwise stores overlap neither loads nor other stores.
    pub stores: Vec<Store>,
}

impl Matmul {
    /// How many elements of the right operand's buffer a column takes: bytes, where it is packed.
    pub fn column_elements(&self) -> usize {
        self.packed.map_or(self.k, |format| format.row_bytes(self.k).unwrap_or(0))
    }
}

impl Fused {
    /// For each instruction, how many reductions must be complete before it can be computed: the loops run once more for
    /// each level.
    pub fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(self.body.len());
        for instruction in &self.body {
            let operands = instruction.operation.operands();
            let level = operands.into_iter().map(|operand| levels[operand]).max().unwrap_or(0);
            levels.push(level + usize::from(matches!(instruction.operation, Operation::Reduce(..))));
        }
        levels
    }

    /// The loads that a store overwrites while others may still use them, as positions in the body. A fold's result is stored
    /// before the loops run once more, and then the loads are read again.
    pub fn overwritten(&self) -> Vec<usize> {
        if !self.reduced.contains(&true) {
            return Vec::new();
        }
        let levels = self.levels();
        let first_store = |load: usize| {
            let stores = self.stores.iter().filter(|store| store.view.buffer == self.loads[load].buffer);
            stores.map(|store| levels[store.value]).min()
        };
        let is_overwritten = |&position: &usize| {
            let Operation::Load(load) = self.body[position].operation else { return false };
            let Some(level) = first_store(load) else { return false };
            self.body
                .iter()
                .zip(&levels)
                .any(|(user, &at)| (user.full || at > level) && user.operation.operands().contains(&position))
        };
        (0..self.body.len()).filter(is_overwritten).collect()
    }

    /// How many points are folded into one result; 1 without reductions.
    pub fn folded(&self) -> usize {
        let sizes = self.loops.iter().zip(&self.reduced);
        sizes.filter(|(_, reduced)| **reduced).map(|(size, _)| size).product()
    }
}

/// A value written to memory, converted to the view's dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The instruction whose value it is.
    pub value: usize,
    /// Where it goes.
    pub view: View,
}

/// The dtype a contraction of these operands accumulates in: the one that [`Operation::Accumulator`] gives.
pub fn accumulator(dtype: DType) -> Option<DType> {
    match dtype {
        DType::Bool => None,
        DType::U8 | DType::U16 => Some(DType::I32),
        DType::F16 | DType::Bf16 | DType::F32 => Some(DType::F32),
        DType::F64 | DType::I32 | DType::I64 => Some(dtype),
    }
}

/// `[batch, m, k] × [batch, k, n]`. The epilogue's loops are the product's rows (batch and m, perhaps as several loops) and,
/// as its last loop, `n`; [`Operation::Accumulator`] is the product, in `f64` for `F64` operands, `I32`/`I64` for integer
/// ones, else `f32`. The epilogue has no reductions.
#[derive(Clone, Debug)]
pub struct Matmul {
    /// How many products.
    pub batch: usize,
    /// Rows of each.
    pub m: usize,
    /// Columns of each.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// The left operand, strides for `[batch, m, k]`.
    pub a: View,
    /// The right operand, strides for `[batch, k, n]`; of packed columns the bytes, strides for `[1, bytes of a column, n]`, which lie
    /// next to each other in a column, as the columns do.
    pub b: View,
    /// How the columns of the right operand are packed, if they are. Then there is one product, in `f32`, and the numbers of
    /// a row of the left operand are next to each other, none of its rows before an earlier one.
    pub packed: Option<BlockFormat>,
    /// What is done with each element of the result.
    pub epilogue: Fused,
}

/// Rows of blocks and their numbers. Both views have strides for `[rows, bytes or numbers of a row]`, and are row-major.
#[derive(Clone, Debug)]
pub struct Unpack {
    /// How the blocks lie.
    pub format: BlockFormat,
    /// How many rows.
    pub rows: usize,
    /// How many numbers a row has, which are whole blocks.
    pub numbers: usize,
    /// The bytes.
    pub blocks: View,
    /// The numbers, in `f32`.
    pub out: View,
}

/// A convolution. Spatial triples are depth, height, width, with leading ones where there
/// are fewer axes.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Which one.
    pub kind: ConvKind,
    /// Images.
    pub batch: usize,
    /// Spatial sizes of the image.
    pub input: [usize; 3],
    /// Channels of the image.
    pub in_channels: usize,
    /// Spatial sizes of the result.
    pub output: [usize; 3],
    /// Channels of the result.
    pub out_channels: usize,
    /// Sizes of the window.
    pub window: [usize; 3],
    /// Distance between windows.
    pub stride: [usize; 3],
    /// Zeros in front; those behind follow from `output`.
    pub pad: [usize; 3],
    /// Distance between a window's elements.
    pub dilation: [usize; 3],
    /// Independent groups of channels.
    pub groups: usize,
    /// The first operand. An image-like one has strides for `[batch, channel, depth, height, width]`, with channel
    /// stride 1 where the target likes channels last; a weight has them for `[out, in of the group, depth, height, width]`.
    pub a: View,
    /// The second operand, likewise.
    pub b: View,
    /// What is done with each element; its last loop is the columns, the loops before it the rows (see [`ConvKind`]).
    pub epilogue: Fused,
}

/// A pooling operation. All views have strides for `[batch, channel, depth, height, width]`.
#[derive(Clone, Debug)]
pub struct Window {
    /// Which one.
    pub kind: WindowKind,
    /// Images.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial sizes of the image.
    pub input: [usize; 3],
    /// Spatial sizes of the result.
    pub output: [usize; 3],
    /// Sizes of a window.
    pub window: [usize; 3],
    /// Distance between windows.
    pub stride: [usize; 3],
    /// Padding in front.
    pub pad: [usize; 3],
    /// Distance between a window's elements.
    pub dilation: [usize; 3],
    /// The operands, as the kind says.
    pub operands: Vec<View>,
    /// The result.
    pub out: View,
}

/// Operands of gather and scatter.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// Sizes of the index; all views have strides for these loops.
    pub loops: Vec<usize>,
    /// The loop the index replaces.
    pub axis: usize,
    /// The size of the indexed axis, which indices must stay below.
    pub size: usize,
    /// What is read.
    pub x: View,
    /// The index, `I64`.
    pub index: View,
    /// What is written.
    pub out: View,
}

/// Operands of work along one axis: the last loop.
#[derive(Clone, Debug)]
pub struct AlongAxis {
    /// Sizes of the loops; the last is the axis.
    pub loops: Vec<usize>,
    /// What is read.
    pub x: View,
    /// What is written. For a position of an extreme its last stride isn't used.
    pub out: View,
}

/// A user's operation and its operands.
#[derive(Clone, Debug)]
pub struct Custom {
    /// The operation.
    pub op: Shared<dyn CustomOp>,
    /// Its operands, row-major.
    pub operands: Vec<(Shape, View)>,
    /// Its result, row-major.
    pub out: (Shape, View),
}
