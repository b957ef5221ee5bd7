//! Llama 3's scaling of rotary positions: a file keeps by what each pair turns slower, and not the four numbers that say it.

use kiln_nn::models::{Rotary, RotaryScaling};
use serde_json::{Map, Value, json};

/// The settings of models that were published with it.
const PUBLISHED: [(f64, f64, usize); 1] = [(1.0, 4.0, 8192)];

/// The settings that give these factors.
pub(super) fn llama3(factors: &[f32], width: usize, base: f64) -> Option<Map<String, Value>> {
    // The width is what the file says; nothing is made of it before the file holds a factor for each of its pairs.
    if factors.len() != width / 2 {
        return None;
    }
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    PUBLISHED.into_iter().find_map(|(low, high, original)| {
        let scaling = RotaryScaling::Llama3 { factor, low, high, original };
        let plain = Rotary { width, base, scaling: RotaryScaling::Plain }.angles();
        let scaled = Rotary { width, base, scaling }.angles();
        let near = |((&found, plain), scaled): ((&f32, f64), f64)| {
            (f64::from(found) * scaled / plain - 1.0).abs() < 1e-4
        };
        let fits = factors.iter().zip(plain).zip(scaled).all(near);
        let settings = json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original,
        });
        fits.then(|| settings.as_object().cloned())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By what each pair turns slower, as a file keeps it.
    fn written(rotary: &Rotary) -> Vec<f32> {
        let plain = Rotary { scaling: RotaryScaling::Plain, ..rotary.clone() }.angles();
        plain.into_iter().zip(rotary.angles()).map(|(plain, scaled)| (plain / scaled) as f32).collect()
    }

    #[test]
    fn published_settings_are_found_and_others_are_not() {
        for (factor, original, found) in [(8.0, 8192, true), (32.0, 8192, true), (8.0, 4096, false)] {
            let scaling = RotaryScaling::Llama3 { factor, low: 1.0, high: 4.0, original };
            let rotary = Rotary { width: 128, base: 500_000.0, scaling };
            let factors = written(&rotary);
            let settings = llama3(&factors, 128, 500_000.0);
            assert_eq!(settings.is_some(), found, "{factor} {original}");
            if let Some(settings) = settings {
                assert_eq!(settings["factor"], factor);
            }
            assert!(llama3(&factors, 130, 500_000.0).is_none() && llama3(&[], 128, 500_000.0).is_none());
        }
    }
}
