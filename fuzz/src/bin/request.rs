//! What requests bring to a server: rows of JSON, and tensors with bytes behind it. What is taken has as many elements as it says.
#![no_main]

use kiln_fuzz::{fuzz_target, seeds};
use kiln_serve::readers::{InferRequest, Json};

/// The first two bytes say where JSON ends.
fn with_head(json: &[u8], binary: &[u8]) -> Vec<u8> {
    let head = (json.len() as u16).to_le_bytes();
    [&head, json, binary].concat()
}

fn all() -> Vec<Vec<u8>> {
    vec![
        with_head(br#"[{"age": 63, "sex": "male", "since": null, "ill": true}, {"age": -1.5e3}]"#, b""),
        with_head(br#"{"rows": [{"a": "\u00e9\n"}], "inputs": [[1, 2], [3, 4]], "text": "x"}"#, b""),
        with_head(
            br#"{"id": "1", "inputs": [{"name": "a", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
                {"name": "b", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}},
                {"name": "c", "datatype": "INT8", "shape": [1, 2], "data": [[1, 2]]}],
                "outputs": [{"name": "class", "parameters": {"binary_data": true}}]}"#,
            &[0, 0, 128, 63, 0, 0, 0, 64, 2, 0, 0, 0, 104, 105],
        ),
    ]
}

fuzz_target!(init: seeds(all()), |bytes: &[u8]| {
    let Some((head, body)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*head));
    let text = &body[..length.min(body.len())];
    if let Ok(json) = Json::read(text) {
        let _ = json.cells();
        let mut numbers = Vec::new();
        let _ = json.flatten(&mut numbers);
        assert!(numbers.len() <= text.len());
    }
    let _ = InferRequest::read(body, Some(length));
    let _ = InferRequest::read(text, None);
});
