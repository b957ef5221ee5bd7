//! How much memory a message will take, found without taking it: a field of two bytes can stand for a structure of a thousand.

use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
    TrainingInfoProto,
};

/// The messages that are looked into.
#[derive(Clone, Copy)]
pub enum MessageKind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    /// Two tensors, which stand in it and not beside it.
    Sparse,
    Training,
    /// One of the small ones, which hold nothing that is large for its bytes.
    Small,
}

/// A small message takes at most so many bytes for one of its own in the file.
const SMALL: u64 = 64;

/// A number of one byte in the file takes as many here as it can, in a list that has grown to twice its length.
const NUMBER: u64 = 16;

/// A text or bytes in a list, empty ones too.
const TEXT: u64 = 64;

impl MessageKind {
    /// What takes a field's bytes, and how many of memory each of them is at most; numbers of the fields are those in `proto/`.
    fn field(self, number: u64) -> (Option<MessageKind>, u64) {
        use MessageKind::*;
        let message = |kind| (Some(kind), 0);
        match (self, number) {
            (Model, 7) => message(Graph),
            (Model, 25) => message(Function),
            (Model, 20) => message(Training),
            (Model, 8 | 14 | 26) => message(Small),
            (Training, 1 | 2) => message(Graph),
            (Training, 3 | 4) => message(Small),
            (Function, 7) => message(Node),
            (Function, 11) => message(Attribute),
            (Function, 9 | 12 | 14) => message(Small),
            (Graph, 1) => message(Node),
            (Graph, 5) => message(Tensor),
            (Graph, 15) => message(Sparse),
            (Graph, 11..=14 | 16) => message(Small),
            (Node, 5) => message(Attribute),
            (Node, 9 | 10) => message(Small),
            (Attribute, 5 | 10) => message(Tensor),
            (Attribute, 6 | 11) => message(Graph),
            (Attribute, 22 | 23) => message(Sparse),
            (Attribute, 14 | 15) => message(Small),
            (Sparse, 1 | 2) => message(Tensor),
            (Sparse, 3) => (None, NUMBER),
            (Tensor, 3 | 13 | 16) => message(Small),
            // These stay where they are in the file.
            (Attribute, 4 | 9) | (Tensor, 6 | 9) => (None, 0),
            (Attribute, 7) | (Tensor, 4 | 10) => (None, 2),
            (Attribute, 8) | (Tensor, 1 | 5 | 7 | 11) => (None, NUMBER),
            _ => (None, 1),
        }
    }

    fn size(self) -> u64 {
        let size = match self {
            MessageKind::Model => size_of::<ModelProto>(),
            MessageKind::Function => size_of::<FunctionProto>(),
            MessageKind::Graph => size_of::<GraphProto>(),
            MessageKind::Node => size_of::<NodeProto>(),
            MessageKind::Attribute => size_of::<AttributeProto>(),
            MessageKind::Tensor => size_of::<TensorProto>(),
            MessageKind::Sparse => size_of::<SparseTensorProto>(),
            MessageKind::Training => size_of::<TrainingInfoProto>(),
            MessageKind::Small => 256,
        };
        2 * size as u64
    }
}

/// The bytes of memory that a message takes at most; what is damaged is weighed up to there, and what is above the limit up to about
/// there: what waits to be weighed takes memory too.
pub fn weigh(bytes: &[u8], kind: MessageKind, limit: u64) -> u64 {
    let mut total = kind.size();
    let mut waiting = vec![(bytes, kind)];
    while let Some((bytes, kind)) = waiting.pop() {
        if let MessageKind::Small = kind {
            total = total.saturating_add(SMALL * bytes.len() as u64);
            continue;
        }
        let mut rest = bytes;
        while let Some((number, field)) = next(&mut rest) {
            let (inside, each) = kind.field(number);
            let more = match (field, inside) {
                (Some(bytes), Some(kind)) => {
                    waiting.push((bytes, kind));
                    kind.size()
                }
                (Some(bytes), None) => TEXT + each * bytes.len() as u64,
                (None, _) => NUMBER,
            };
            total = total.saturating_add(more);
            if total > limit {
                return total;
            }
        }
    }
    total
}

/// The number of the next field, and its bytes unless it is a number.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(rest)?;
    let bytes = match key & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => skip(rest, 8).map(|_| None)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Some(skip(rest, length)?)
        }
        5 => skip(rest, 4).map(|_| None)?,
        // Groups, which none of these messages has.
        _ => return None,
    };
    Some((key >> 3, bytes))
}

fn skip<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (bytes, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(bytes)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Message;

    /// What a message takes is at most what it was weighed to, and within reason.
    #[test]
    fn empty_parts_weigh_what_they_take() {
        let of = |graph: GraphProto| ModelProto { graph: Some(graph), ..ModelProto::default() };
        let count = 1000;
        let node = NodeProto { attribute: vec![AttributeProto::default(); count], ..NodeProto::default() };
        let tensor = TensorProto { int64_data: vec![0; count], ..TensorProto::default() };
        let raw = TensorProto { raw_data: Some(vec![0; 100 * count].into()), ..TensorProto::default() };
        let texts = NodeProto { input: vec![String::new(); count], ..NodeProto::default() };
        let nodes = vec![NodeProto::default(); count];
        let sparse = vec![SparseTensorProto::default(); count];
        let attribute = AttributeProto { sparse_tensors: sparse.clone(), ..AttributeProto::default() };
        let holder = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
        let training = vec![TrainingInfoProto::default(); count];
        let cases = [
            (
                of(GraphProto { node: vec![node], ..GraphProto::default() }),
                count * size_of::<AttributeProto>(),
            ),
            (of(GraphProto { node: nodes, ..GraphProto::default() }), count * size_of::<NodeProto>()),
            (of(GraphProto { initializer: vec![tensor], ..GraphProto::default() }), count * 8),
            (of(GraphProto { node: vec![texts], ..GraphProto::default() }), count * size_of::<String>()),
            (
                of(GraphProto { sparse_initializer: sparse, ..GraphProto::default() }),
                count * size_of::<SparseTensorProto>(),
            ),
            (
                of(GraphProto { node: vec![holder], ..GraphProto::default() }),
                count * size_of::<SparseTensorProto>(),
            ),
            (
                ModelProto { training_info: training, ..ModelProto::default() },
                count * size_of::<TrainingInfoProto>(),
            ),
            // It stays in the file.
            (of(GraphProto { initializer: vec![raw], ..GraphProto::default() }), 0),
        ];
        for (model, least) in cases {
            let bytes = model.encode_to_vec();
            let weight = weigh(&bytes, MessageKind::Model, u64::MAX) as usize;
            assert!(weight >= least && weight <= 4 * least + 100_000 / 8, "{weight} for {least}");
            for end in 0..bytes.len().min(300) {
                weigh(&bytes[..end], MessageKind::Model, u64::MAX);
            }
        }
        let endless = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(weigh(&endless, MessageKind::Model, u64::MAX) < 1 << 16);
    }

    /// What is inside a sparse tensor and a training is looked into like the same elsewhere.
    #[test]
    fn parts_weigh_the_same_wherever_they_stand() {
        let count = 1000;
        let tensor =
            TensorProto { dims: vec![1; count], int64_data: vec![0; count], ..TensorProto::default() };
        let graph = GraphProto { node: vec![NodeProto::default(); count], ..GraphProto::default() };
        let sparse = SparseTensorProto {
            values: Some(tensor.clone()),
            indices: Some(tensor.clone()),
            dims: vec![1; count],
        };
        let training = TrainingInfoProto {
            initialization: Some(graph.clone()),
            algorithm: Some(graph.clone()),
            ..TrainingInfoProto::default()
        };
        let weight = |bytes: Vec<u8>, kind| weigh(&bytes, kind, u64::MAX);
        let (tensor, graph) = (tensor.encode_to_vec(), graph.encode_to_vec());
        let dims = NUMBER * count as u64;
        assert_eq!(
            weight(sparse.encode_to_vec(), MessageKind::Sparse),
            MessageKind::Sparse.size() + 2 * weight(tensor, MessageKind::Tensor) + dims
        );
        assert_eq!(
            weight(training.encode_to_vec(), MessageKind::Training),
            MessageKind::Training.size() + 2 * weight(graph, MessageKind::Graph)
        );
    }

    /// Parts that wait are as many as the limit lets in, and not as many as the file has.
    #[test]
    fn weighing_stops_above_the_limit() {
        let graph = GraphProto { node: vec![NodeProto::default(); 10_000], ..GraphProto::default() };
        let bytes = graph.encode_to_vec();
        let (limit, node) = (100_000, MessageKind::Node.size());
        let weight = weigh(&bytes, MessageKind::Graph, limit);
        assert!(weight > limit && weight <= limit + node, "{weight}");
        let whole = MessageKind::Graph.size() + 10_000 * node;
        for enough in [whole, u64::MAX] {
            assert_eq!(weigh(&bytes, MessageKind::Graph, enough), whole);
        }
    }
}
