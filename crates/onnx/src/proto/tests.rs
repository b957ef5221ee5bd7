//! Bytes of messages, beside those of the standard.

use bytes::Bytes;

use super::wire::write_varint;
use super::*;

#[test]
fn bytes_are_those_of_the_standard() {
    let dims = TensorProto { dims: vec![150, -1], int64_data: vec![3, 270], ..TensorProto::default() };
    // A field is repeated with its number, or packed, as ONNX's description has it.
    let minus = [&[0xff; 9][..], &[1]].concat();
    let bytes = [&[8, 0x96, 1, 8][..], &minus, &[0x3a, 3, 3, 0x8e, 2]].concat();
    assert_eq!(dims.encode_to_vec(), bytes);
    assert_eq!(TensorProto::decode(bytes), Ok(dims));
    // Both forms are read, whatever is written.
    let other = [&[0x0a, 3, 0x96, 1, 5][..], &[0x38, 3]].concat();
    let read = TensorProto::decode(other).unwrap();
    assert_eq!((read.dims, read.int64_data), (vec![150, 5], vec![3]));
}

#[test]
fn bytes_share_the_memory_they_were_read_from() {
    let tensor = TensorProto { raw_data: Some(vec![7; 100].into()), ..TensorProto::default() };
    let bytes = Bytes::from(tensor.encode_to_vec());
    let read = TensorProto::decode(bytes.clone()).unwrap();
    assert!(bytes.as_ptr_range().contains(&read.raw_data().as_ptr()));
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_damaged_refused() {
    let node = NodeProto { op_type: Some("Add".to_string()), ..NodeProto::default() };
    let known = node.encode_to_vec();
    // Field 100 in each kind.
    for unknown in
        [&[0xa0, 6, 1][..], &[0xa1, 6, 0, 0, 0, 0, 0, 0, 0, 0], &[0xa2, 6, 1, 0], &[0xa5, 6, 0, 0, 0, 0]]
    {
        assert_eq!(NodeProto::decode([unknown, &known].concat()), Ok(node.clone()));
    }
    let refused = |bytes: &[u8]| NodeProto::decode(bytes.to_vec()).unwrap_err().to_string();
    assert!(refused(&[0x22, 2, 0xff, 0xfe]).contains("UTF-8"));
    assert!(refused(&[0x20, 1]).contains("field's type"));
    assert!(refused(&[0x22, 9, 1]).contains("middle"));
    assert!(refused(&[0xa3, 6]).contains("kind"));
    assert!(refused(&[2, 0]).contains("number"));
    assert!(refused(&[0xff; 11]).contains("64 bits"));
    // A graph in an attribute in a node in a graph, and so on.
    let mut deep = Vec::new();
    for _ in 0..60 {
        for key in [0x32, 0x2a, 0x0a] {
            let mut outer = vec![key];
            write_varint(deep.len() as u64, &mut outer);
            outer.extend(&deep);
            deep = outer;
        }
    }
    let mut model = vec![0x3a];
    write_varint(deep.len() as u64, &mut model);
    model.extend(&deep);
    assert!(ModelProto::decode(model).unwrap_err().to_string().contains("too deep"));
}

#[test]
fn the_last_of_a_choice_counts() {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let of = |value: Value| Dimension { value: Some(value), denotation: None };
    let shape = TensorShapeProto { dim: vec![of(Value::DimValue(3)), of(Value::DimParam("n".to_string()))] };
    assert_eq!(TensorShapeProto::decode(shape.encode_to_vec()), Ok(shape));
    let both = [of(Value::DimParam("n".to_string())), of(Value::DimValue(3))].map(|one| one.encode_to_vec());
    assert_eq!(Dimension::decode(both.concat()), Ok(of(Value::DimValue(3))));
}
