//! Programs as people read them: the kernels with their operands, the work they do, and the memory plan.

use std::fmt::{self, Write};

use crate::plan::spans;
use crate::program::{BufferId, BufferPlace, Fused, Operation, Program, View, Work};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.listing(&[]))
    }
}

impl Program {
    /// A line for each kernel: its name and loops, operations and bytes, the buffers it reads and writes, the user's line;
    /// and, where `times` holds one for each kernel, how long it took and at what speed.
    pub fn listing(&self, times: &[std::time::Duration]) -> String {
        let mut text = String::new();
        let total = self.total(times);
        for position in 0..self.kernels.len() {
            for repeat in self.repeats.iter().filter(|repeat| repeat.kernels.start == position) {
                let (steps, last) = (repeat.steps, repeat.kernels.end - 1);
                let _ = writeln!(text, "      {steps} times {position}..={last}:");
            }
            self.line(&mut text, position, times, total);
            self.operands(&mut text, position);
        }
        let operations: u64 = self.kernels.iter().map(|kernel| kernel.operations).sum();
        let bytes: u64 = self.kernels.iter().map(|kernel| kernel.bytes).sum();
        let _ = write!(
            text,
            "{} kernels, {}, {} through memory, arena {}",
            self.kernels.len(),
            amount(operations, "op"),
            amount(bytes, "B"),
            amount(self.arena as u64, "B")
        );
        if !times.is_empty() {
            let _ = write!(text, ", {:.1} µs", total * 1e6);
        }
        text.push('\n');
        text
    }

    /// The kernels that took longest, at most so many, the slowest first: their lines of [`Program::listing`] without the buffers.
    pub fn slowest(&self, times: &[std::time::Duration], most: usize) -> String {
        let mut kernels: Vec<usize> = (self.hoisted..self.kernels.len().min(times.len())).collect();
        kernels.sort_by_key(|&position| std::cmp::Reverse(times[position]));
        kernels.truncate(most);
        let (mut text, total) = (String::new(), self.total(times));
        for position in kernels {
            self.line(&mut text, position, times, total);
            text.push('\n');
        }
        text
    }

    /// Seconds that a run took whose kernels took these.
    fn total(&self, times: &[std::time::Duration]) -> f64 {
        times.iter().skip(self.hoisted).map(|time| time.as_secs_f64()).sum()
    }

    fn line(&self, text: &mut String, position: usize, times: &[std::time::Duration], total: f64) {
        let kernel = &self.kernels[position];
        // Writing to a string doesn't fail.
        let _ = write!(text, "{position:>4}  {:<40} {:<24}", kernel.label, size(&kernel.work));
        let _ = write!(text, " {:>8} {:>8}", amount(kernel.operations, "op"), amount(kernel.bytes, "B"));
        if position < self.hoisted {
            let _ = write!(text, "  when a variable was written");
        } else if let Some(time) = times.get(position) {
            let seconds = time.as_secs_f64().max(1e-9);
            let _ = write!(
                text,
                "  {:>8.1} µs {:>4.1} % {:>6.1} Gop/s {:>6.1} GB/s",
                seconds * 1e6,
                100.0 * seconds / total.max(1e-9),
                kernel.operations as f64 / seconds / 1e9,
                kernel.bytes as f64 / seconds / 1e9
            );
        }
    }

    fn operands(&self, text: &mut String, position: usize) {
        let kernel = &self.kernels[position];
        let names = |views: Vec<&View>| {
            let mut names: Vec<String> = views.iter().map(|view| self.buffer_name(view.buffer)).collect();
            names.dedup();
            names.join(" ")
        };
        let _ = write!(text, "  {} <- {}", names(kernel.work.writes()), names(kernel.work.reads()));
        if let Some(at) = kernel.at {
            let _ = write!(text, "   {}:{}", at.file(), at.line());
        }
        text.push('\n');
    }

    /// The memory plan: each temporary with its place and life, and what is alive at the fullest kernel.
    pub fn memory_listing(&self) -> String {
        let mut text = String::new();
        let spans = spans(self);
        let mut alive_at = vec![0usize; self.kernels.len().max(1)];
        for (id, buffer) in self.buffers.iter().enumerate() {
            let BufferPlace::Arena(offset) = buffer.place else { continue };
            let Some((first, last)) = spans[id] else { continue };
            let last = last.min(self.kernels.len() - 1);
            let bytes = buffer.elements * buffer.dtype.size();
            for alive in &mut alive_at[first..=last] {
                *alive += bytes;
            }
            let _ = writeln!(
                text,
                "{:<8} {:>10} at {offset:>10}  {}[{}]  kernels {first}..={last}",
                self.buffer_name(id),
                amount(bytes as u64, "B"),
                buffer.dtype,
                buffer.elements
            );
        }
        let fullest = (0..alive_at.len()).max_by_key(|&kernel| alive_at[kernel]).unwrap_or(0);
        let _ = writeln!(
            text,
            "arena {}; most alive: {} at kernel {fullest}",
            amount(self.arena as u64, "B"),
            amount(alive_at[fullest] as u64, "B")
        );
        text
    }

    /// A short name for a buffer: `in0`, `out0`, `t12`, or the variable's own.
    pub fn buffer_name(&self, id: BufferId) -> String {
        match self.buffers[id].place {
            BufferPlace::Input(position) => format!("in{position}"),
            BufferPlace::Output(position) => format!("out{position}"),
            BufferPlace::Arena(_) => format!("t{id}"),
            BufferPlace::Slice { of, .. } => format!("{}[i]", self.buffer_name(of)),
            BufferPlace::Variable(position) => match self.variables[position].name() {
                name if name.is_empty() => format!("var{position}"),
                name => name,
            },
        }
    }
}

impl fmt::Display for Fused {
    /// The loops and the straight-line body, one instruction a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (size, reduced) in self.loops.iter().zip(&self.reduced) {
            write!(f, "{}{size} ", if *reduced { "fold " } else { "for " })?;
        }
        writeln!(f)?;
        for (value, instruction) in self.body.iter().enumerate() {
            let extent = if instruction.full { "" } else { " (kept)" };
            write!(f, "  v{value}: {}{extent} = ", instruction.dtype)?;
            if let Operation::Load(load) = instruction.operation {
                let view = &self.loads[load];
                writeln!(f, "b{}[{} + {:?}]", view.buffer, view.offset, view.strides)?;
            } else {
                writeln!(f, "{:?}", instruction.operation)?;
            }
        }
        for store in &self.stores {
            let view = &store.view;
            writeln!(f, "  b{}[{} + {:?}] = v{}", view.buffer, view.offset, view.strides, store.value)?;
        }
        Ok(())
    }
}

/// The extent of a kernel's work.
fn size(work: &Work) -> String {
    let loops = |loops: &[usize]| loops.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
    match work {
        Work::Fused(fused) => {
            let one = |(size, reduced): (&usize, &bool)| {
                if *reduced { format!("Σ{size}") } else { size.to_string() }
            };
            fused.loops.iter().zip(&fused.reduced).map(one).collect::<Vec<_>>().join("×")
        }
        Work::Matmul(matmul) if matmul.batch == 1 => {
            let packed = matmul.packed.map(|format| format!(" {format}")).unwrap_or_default();
            format!("{}×{}×{}{packed}", matmul.m, matmul.k, matmul.n)
        }
        Work::Matmul(matmul) => format!("{}·{}×{}×{}", matmul.batch, matmul.m, matmul.k, matmul.n),
        Work::Conv(conv) => format!(
            "{}·{}→{} {} {}",
            conv.batch,
            conv.in_channels,
            conv.out_channels,
            loops(&conv.output[1..]),
            loops(&conv.window[1..])
        ),
        Work::Window(window) => {
            format!(
                "{}·{} {} {}",
                window.batch,
                window.channels,
                loops(&window.output[1..]),
                loops(&window.window[1..])
            )
        }
        Work::Gather(indexed) | Work::Scatter(indexed, _) => loops(&indexed.loops),
        Work::ArgReduce(_, along) | Work::CumSum(along) | Work::ArgSort(_, along) => loops(&along.loops),
        Work::Unpack(work) => format!("{}×{} {}", work.rows, work.numbers, work.format),
        Work::Attention(work) => {
            let sizes = work.sizes;
            format!("{}·{}·{}×{}×{}", sizes.batch, sizes.heads, sizes.queries, sizes.width, sizes.keys)
        }
        Work::Custom(custom) => custom.out.0.to_string(),
    }
}

/// A number with a unit and a metric prefix: `12.3 MB`.
fn amount(count: u64, cluster: &str) -> String {
    let mut value = count as f64;
    for prefix in ["", "k", "M", "G"] {
        if value < 1000.0 || prefix == "G" {
            return if prefix.is_empty() {
                format!("{count} {cluster}")
            } else {
                format!("{value:.1} {prefix}{cluster}")
            };
        }
        value /= 1000.0;
    }
    format!("{count} {cluster}")
}
