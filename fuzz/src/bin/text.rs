//! Texts and the pieces they are cut in: characters and bytes come back, and the pieces from their own JSON.
#![no_main]

use kiln_data::{Cut, Dataset, Tokens, Windows, conll, is_conll, read_text};
use kiln_fuzz::{file, fuzz_target, seeds};

const SEEDS: [&str; 3] =
    ["EU B-ORG\nrejects O\n\nRom B-LOC\n", "\u{feff}Grüße, «Welt»!\nIt's 3 o'clock.", r#"{"cut":"words","pieces":["�","to","be"]}"#];

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    let Ok(text) = read_text(file("input.txt", bytes)) else { return };
    for cut in [Cut::Characters, Cut::Bytes, Cut::Words] {
        let Ok(tokens) = Tokens::fit(&text, cut, 1 << 20) else { continue };
        let codes = tokens.encode(&text);
        if cut != Cut::Words {
            assert_eq!(tokens.decode(&codes), text);
        }
        assert_eq!(serde_json::from_str::<Tokens>(&serde_json::to_string(&tokens).unwrap()).unwrap(), tokens);
        if let Ok(windows) = Windows::new(codes, tokens.count(), 3).map(Windows::moved) {
            windows.gather(&[windows.len() - 1]).unwrap();
        }
    }
    if let Ok(sentences) = conll(&text) {
        assert!(sentences.iter().all(|own| !own.words.is_empty() && (own.tags.is_empty() || own.tags.len() == own.words.len())));
        let _ = is_conll(&text);
    }
    if let Ok(tokens) = serde_json::from_str::<Tokens>(&text) {
        let _ = tokens.decode(&tokens.encode("to be or not"));
    }
});
