//! What can be asked of any kind of work: its body, its operands, and the views that it reads and writes.

use std::collections::BTreeSet;

use super::{Buffer, BufferId, Fused, View, Work};

impl Work {
    /// The fused body: of fused work itself, or the epilogue of a contraction.
    pub fn body(&self) -> Option<&Fused> {
        match self {
            Work::Fused(fused) => Some(fused),
            Work::Matmul(matmul) => Some(&matmul.epilogue),
            Work::Conv(conv) => Some(&conv.epilogue),
            Work::Window(_)
            | Work::Gather(_)
            | Work::Scatter(..)
            | Work::ArgReduce(..)
            | Work::CumSum(_)
            | Work::Unpack(_)
            | Work::ArgSort(..)
            | Work::Attention(_)
            | Work::Custom(_) => None,
        }
    }

    /// The operands of a contraction, which are read apart from its epilogue.
    pub fn contracted(&self) -> Option<[&View; 2]> {
        match self {
            Work::Matmul(matmul) => Some([&matmul.a, &matmul.b]),
            Work::Conv(conv) => Some([&conv.a, &conv.b]),
            Work::Fused(_)
            | Work::Window(_)
            | Work::Gather(_)
            | Work::Scatter(..)
            | Work::ArgReduce(..)
            | Work::CumSum(_)
            | Work::Unpack(_)
            | Work::ArgSort(..)
            | Work::Attention(_)
            | Work::Custom(_) => None,
        }
    }

    /// Whether the host does it: a user's own operation, on host data.
    pub fn on_host(&self) -> bool {
        matches!(self, Work::Custom(_))
    }

    /// The buffers that are touched, each once.
    pub fn buffers(&self) -> BTreeSet<BufferId> {
        self.reads().into_iter().chain(self.writes()).map(|view| view.buffer).collect()
    }

    /// Bytes read and written, each operand counted once.
    pub fn traffic(&self, buffers: &[Buffer]) -> u64 {
        let views = self.reads().into_iter().chain(self.writes());
        views.map(|view| &buffers[view.buffer]).map(|b| (b.elements * b.dtype.size()) as u64).sum()
    }

    /// Calls `visit` with every view.
    pub fn each_view(&mut self, mut visit: impl FnMut(&mut View)) {
        fn fused(fused: &mut Fused, visit: &mut impl FnMut(&mut View)) {
            fused.loads.iter_mut().for_each(&mut *visit);
            fused.stores.iter_mut().for_each(|store| visit(&mut store.view));
        }
        let visit = &mut visit;
        match self {
            Work::Fused(work) => fused(work, visit),
            Work::Matmul(work) => {
                [&mut work.a, &mut work.b].into_iter().for_each(&mut *visit);
                fused(&mut work.epilogue, visit);
            }
            Work::Conv(work) => {
                [&mut work.a, &mut work.b].into_iter().for_each(&mut *visit);
                fused(&mut work.epilogue, visit);
            }
            Work::Window(work) => work.operands.iter_mut().chain([&mut work.out]).for_each(visit),
            Work::Gather(work) | Work::Scatter(work, _) => {
                [&mut work.x, &mut work.index, &mut work.out].into_iter().for_each(visit);
            }
            Work::ArgReduce(_, work) | Work::CumSum(work) | Work::ArgSort(_, work) => {
                [&mut work.x, &mut work.out].into_iter().for_each(visit);
            }
            Work::Unpack(work) => [&mut work.blocks, &mut work.out].into_iter().for_each(visit),
            Work::Attention(work) => work.each_view(visit),
            Work::Custom(work) => {
                work.operands.iter_mut().chain([&mut work.out]).for_each(|(_, view)| visit(view));
            }
        }
    }

    /// The views that are read.
    pub fn reads(&self) -> Vec<&View> {
        match self {
            Work::Fused(fused) => fused.loads.iter().collect(),
            Work::Matmul(matmul) => {
                [&matmul.a, &matmul.b].into_iter().chain(&matmul.epilogue.loads).collect()
            }
            Work::Conv(conv) => [&conv.a, &conv.b].into_iter().chain(&conv.epilogue.loads).collect(),
            Work::Window(window) => window.operands.iter().collect(),
            Work::Gather(indexed) => vec![&indexed.x, &indexed.index],
            // What a scatter writes holds its base, so it is read too.
            Work::Scatter(indexed, _) => vec![&indexed.x, &indexed.index, &indexed.out],
            Work::ArgReduce(_, along) | Work::CumSum(along) | Work::ArgSort(_, along) => vec![&along.x],
            Work::Unpack(unpack) => vec![&unpack.blocks],
            Work::Attention(attention) => attention.reads(),
            Work::Custom(custom) => custom.operands.iter().map(|(_, view)| view).collect(),
        }
    }

    /// The views that are written.
    pub fn writes(&self) -> Vec<&View> {
        match self {
            Work::Fused(fused) => fused.stores.iter().map(|store| &store.view).collect(),
            Work::Matmul(matmul) => matmul.epilogue.stores.iter().map(|store| &store.view).collect(),
            Work::Conv(conv) => conv.epilogue.stores.iter().map(|store| &store.view).collect(),
            Work::Window(window) => vec![&window.out],
            Work::Gather(indexed) | Work::Scatter(indexed, _) => vec![&indexed.out],
            Work::ArgReduce(_, along) | Work::CumSum(along) | Work::ArgSort(_, along) => vec![&along.out],
            Work::Unpack(unpack) => vec![&unpack.out],
            Work::Attention(attention) => attention.writes(),
            Work::Custom(custom) => vec![&custom.out.1],
        }
    }
}
