//! Networks of ONNX files that take texts, with their tokenizers beside them (`onnx/make.py` exported some of `encoders`).

use std::fs;

use kiln::hub::TextNetwork;
use serde_json::Value;

use crate::kept::{apart, folders, numbers};
use crate::program;

#[test]
fn a_network_with_its_tokenizer_says_and_means_what_it_did_where_it_was_made() {
    let all = folders("onnx");
    assert!(all.len() >= 4);
    for (name, from, expected) in all {
        let path = from.join("model.onnx");
        assert!(TextNetwork::is_file(&path) && !TextNetwork::is_file(&from));
        let network = TextNetwork::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Pairs aren't told apart by those without token types.
        let kept: Vec<&Value> = expected["texts"].as_array().unwrap().iter().collect();
        let pair = |text: &Value| match text["second"].as_str() {
            Some(second) => format!("{}\t{second}\n", text["first"].as_str().unwrap()),
            None => format!("{}\n", text["first"].as_str().unwrap()),
        };
        let folder = program(&format!("hub-onnx-{name}"));
        folder.write("texts.txt", kept.iter().map(|text| pair(text)).collect::<String>());
        let path = path.to_string_lossy();
        let lines = |out: String| -> Vec<Value> {
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        if kept[0]["said"].is_null() {
            let meant = lines(folder.out(&["predict", &path, "texts.txt", "--embed", "--json"]));
            for (line, kept) in meant.iter().zip(&kept) {
                let far = apart(&numbers(&line["embedding"]), &numbers(&kept["embedding"]));
                assert!(far < 1e-5, "{name}: {far}");
            }
            let alone = network.embed(["films"]).unwrap();
            let among = network
                .embed(["a fine film", "films", "it was unheard of and very long , is it not ?"])
                .unwrap();
            assert_eq!(alone.rows().next(), among.rows().nth(1), "{name}: padding changes bits");
            let refused = folder.error(&["predict", &path, "a fine film"]).1;
            assert!(
                refused.contains("logits of classes") && refused.contains("last_hidden_state"),
                "{refused}"
            );
            continue;
        }
        let said = lines(folder.out(&["predict", &path, "texts.txt", "--json"]));
        assert_eq!(said.len(), kept.len());
        for (line, kept) in said.iter().zip(&kept) {
            let wanted = numbers(&kept["said"]);
            let labels: &[&str] = if wanted.len() == 3 { &["bad", "so, so", "good"] } else { &["0", "1"] };
            let each = labels.iter().map(|label| line["probabilities"][label].as_f64().unwrap());
            let far = apart(&each.collect::<Vec<f64>>(), &wanted);
            assert!(far < 1e-5, "{name}: {far} for {kept}");
        }
        let refused = folder.error(&["predict", &path, "a fine film", "--embed"]).1;
        assert!(refused.contains("a row for each piece"), "{refused}");
        // Without its tokenizer it isn't one of texts.
        fs::copy(from.join("model.onnx"), folder.at("alone.onnx")).unwrap();
        assert!(folder.error(&["predict", "alone.onnx", "a fine film"]).1.contains("kiln import"));
        // One that takes something else says so.
        fs::create_dir_all(folder.at("cut")).unwrap();
        fs::copy(from.join("tokenizer.json"), folder.at("cut/tokenizer.json")).unwrap();
        fs::write(folder.at("cut/model.onnx"), &fs::read(from.join("model.onnx")).unwrap()[..5000]).unwrap();
        assert!(folder.error(&["predict", "cut/model.onnx", "a film"]).1.contains("model.onnx"));
    }
}
