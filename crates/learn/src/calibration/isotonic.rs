//! Of two classes: how likely the second is, as a line that only rises with its logit (pool adjacent violators), between corners straight in
//! logits.

/// More corners than this say nothing more.
const CORNERS: usize = 64;

/// Fewer rows than this make no corner.
const EACH: usize = 10;

/// How far the second class is above the first in each row.
pub(super) fn margins(logits: &[f64]) -> Vec<f64> {
    logits.chunks_exact(2).map(|row| row[1] - row[0]).collect()
}

/// Rows of like margins: how many, the sum of their margins, and how many are of the second class.
#[derive(Clone, Copy)]
struct Block {
    rows: f64,
    margins: f64,
    second: f64,
}

impl Block {
    fn share(&self) -> f64 {
        self.second / self.rows
    }

    fn with(self, other: Block) -> Block {
        Block {
            rows: self.rows + other.rows,
            margins: self.margins + other.margins,
            second: self.second + other.second,
        }
    }
}

/// The line that suits the rows: corners with rising places and heights, two at least.
pub(super) fn fit(margins: &[f64], labels: &[usize]) -> Vec<[f32; 2]> {
    let mut rows: Vec<(f64, bool)> =
        margins.iter().copied().zip(labels.iter().map(|&label| label == 1)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let each = (rows.len() / CORNERS).max(EACH);
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let mut end = (start + each).min(rows.len());
        // Rows of one margin are together.
        while end < rows.len() && rows[end].0 == rows[end - 1].0 {
            end += 1;
        }
        let own = &rows[start..end];
        let second = own.iter().filter(|(_, is)| *is).count() as f64;
        let mut block =
            Block { rows: own.len() as f64, margins: own.iter().map(|(margin, _)| margin).sum(), second };
        // What falls is pooled with what stands before it.
        while let Some(before) = blocks.pop_if(|before| before.share() >= block.share()) {
            block = before.with(block);
        }
        blocks.push(block);
        start = end;
    }
    let all = rows.iter().filter(|(_, is)| *is).count() as f64 / rows.len().max(1) as f64;
    let corner = |block: &Block| {
        // A block of one class alone isn't certain.
        let share = (block.second + all.clamp(0.01, 0.99)) / (block.rows + 1.0);
        [(block.margins / block.rows) as f32, libm::log(share / (1.0 - share)) as f32]
    };
    let mut line: Vec<[f32; 2]> = Vec::new();
    for corner in blocks.iter().map(corner) {
        let is_further = line.last().is_none_or(|last| corner[0] > last[0] && corner[1] >= last[1]);
        if is_further {
            line.push(corner);
        }
    }
    while line.len() < 2 {
        let last = line.last().copied().unwrap_or([0.0, 0.0]);
        line.push([last[0] + 1.0, last[1]]);
    }
    line
}

/// How high the line is somewhere, computed as the layer does.
pub(super) fn height(line: &[[f32; 2]], margin: f32) -> f32 {
    let rise = |pair: &[[f32; 2]]| {
        let ([low, from], [high, to]) = (pair[0], pair[1]);
        (margin.max(low).min(high) - low) * ((to - from) / (high - low))
    };
    line.windows(2).map(rise).sum::<f32>() + line.first().map_or(0.0, |first| first[1])
}

/// A row's outputs, of which one may stand for two classes, by the line.
pub(super) fn bend(line: &[[f32; 2]], row: &mut [f32]) {
    match row {
        [second] => *second = height(line, *second),
        [first, second] => (*first, *second) = (0.0, height(line, *second - *first)),
        _ => {}
    }
}
