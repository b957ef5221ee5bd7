//! A graph as a file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Builder;
use crate::error::{Error, Result};
use crate::proto::{
    GraphProto, Message, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    tensor_proto::DataLocation,
};

/// The first and the last version of the operators that can be written.
pub const OLDEST: i64 = 13;
/// See [`OLDEST`].
pub const NEWEST: i64 = 28;

/// How a model is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version of the operators.
    pub opset: i64,
    /// Whether weights are stored as `f16`. They are computed with as `f32`.
    pub half: bool,
    /// Whether norms over the batch become part of the convolutions before them.
    pub fold: bool,
    /// Weights go to a file of their own where all together have more bytes than this; ONNX allows 2 GiB in one.
    pub external_above: usize,
    /// Words about the model for whoever reads the file.
    pub metadata: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options { opset: 17, half: false, fold: false, external_above: 0x7000_0000, metadata: Vec::new() }
    }
}

impl Options {
    /// An empty graph to write into.
    ///
    /// # Errors
    /// Where the version of the operators can't be written.
    pub fn builder(&self, name: &str) -> Result<Builder> {
        if !(OLDEST..=NEWEST).contains(&self.opset) {
            return Err(Error::network(format!(
                "operators of version {} can't be written; {OLDEST} to {NEWEST} can",
                self.opset
            )));
        }
        Ok(Builder::new(name, self.opset, self.half))
    }
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedFile {
    /// How many nodes the graph has.
    pub nodes: usize,
    /// Bytes of all files together.
    pub bytes: usize,
    /// The file with the weights, if they have one of their own.
    pub weights: Option<PathBuf>,
}

/// The version of the format that first had these operators.
fn format_version(opset: i64) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

impl Builder {
    /// Writes the graph: beside its place, synced, and then there, so that whatever happens there is the old file or the new one.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save(self, path: impl AsRef<Path>, options: &Options) -> Result<ExportedFile> {
        self.save_at(path.as_ref(), options)
    }

    fn save_at(self, path: &Path, options: &Options) -> Result<ExportedFile> {
        let mut domains = vec![(String::new(), self.opset())];
        domains.extend(self.domains.clone());
        let mut graph = alive(self.finish());
        let nodes = graph.node.len();
        let total: usize = graph.initializer.iter().map(|tensor| tensor.raw_data().len()).sum();
        let mut weights = None;
        let mut bytes = 0;
        if total > options.external_above {
            let beside = PathBuf::from(format!("{}.data", path.display()));
            let all = outside(&mut graph.initializer, &beside);
            bytes += all.len();
            kiln_files::write(&beside, &all).map_err(Error::file(&beside))?;
            weights = Some(beside);
        }
        let entry = |(key, value): &(String, String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        };
        let model = ModelProto {
            ir_version: Some(format_version(options.opset)),
            producer_name: Some("kiln".to_string()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_string()),
            graph: Some(graph),
            opset_import: domains
                .into_iter()
                .map(|(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) })
                .collect(),
            metadata_props: options.metadata.iter().map(entry).collect(),
            ..ModelProto::default()
        };
        let file = model.encode_to_vec();
        bytes += file.len();
        kiln_files::write(path, &file).map_err(Error::file(path))?;
        Ok(ExportedFile { nodes, bytes, weights })
    }
}

/// Dead-node elimination: only what the outputs need, with nodes in their order.
fn alive(mut graph: GraphProto) -> GraphProto {
    let mut needed: HashSet<String> = graph.output.iter().map(|output| output.name().to_string()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in graph.node.into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node.input.iter().cloned());
            nodes.push(node);
        }
    }
    nodes.reverse();
    graph.node = nodes;
    graph.initializer.retain(|tensor| needed.contains(tensor.name()));
    graph
}

/// Moves the numbers of large tensors out, and gives them one after the other.
fn outside(tensors: &mut [TensorProto], file: &Path) -> Vec<u8> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut all = Vec::new();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.raw_data().len() >= 1024) {
        // Readers map the file: pages begin at multiples of 4096.
        all.resize(all.len().next_multiple_of(4096), 0);
        let bytes = tensor.raw_data.take().unwrap_or_default();
        let entries = [
            ("location", name.clone()),
            ("offset", all.len().to_string()),
            ("length", bytes.len().to_string()),
        ];
        tensor.external_data = entries
            .into_iter()
            .map(|(key, value)| StringStringEntryProto { key: Some(key.to_string()), value: Some(value) })
            .collect();
        tensor.data_location = Some(DataLocation::External as i32);
        all.extend_from_slice(&bytes);
    }
    all
}
