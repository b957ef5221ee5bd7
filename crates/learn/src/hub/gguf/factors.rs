//! Llama 3's scaling of rotary positions: a file keeps by what each pair turns slower, and not the four numbers that say it.

use kiln_nn::models::{Rotary, RotaryScaling};
use serde_json::{Map, Value, json};

/// The settings of models that were published with it: from how few turns on a pair isn't slower, from how many as much as can be, and
/// within how many places.
const PUBLISHED: (f64, f64, usize) = (1.0, 4.0, 8192);

/// The settings that give these factors, with the places that a file names or those of published models.
pub(super) fn llama3(
    factors: &[f32],
    width: usize,
    base: f64,
    places: Option<usize>,
) -> Option<Map<String, Value>> {
    // The width is what the file says; nothing is made of it before the file holds a factor for each of its pairs.
    if factors.len() != width / 2 {
        return None;
    }
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let (low, high, published) = PUBLISHED;
    places.into_iter().chain([published]).find_map(|original| {
        let scaling = RotaryScaling::Llama3 { factor, low, high, original };
        let exact = slower(&Rotary { width, base, scaling });
        let near = |(found, exact): (&f32, f32)| (found / exact - 1.0).abs() < 1e-4;
        let fits = factors.iter().zip(exact).all(near);
        let settings = json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original,
        });
        fits.then(|| settings.as_object().cloned())?
    })
}

/// By what each pair turns slower, as a file keeps it.
fn slower(rotary: &Rotary) -> Vec<f32> {
    let plain = Rotary { scaling: RotaryScaling::Plain, ..rotary.clone() }.angles();
    plain.into_iter().zip(rotary.angles()).map(|(plain, scaled)| (plain / scaled) as f32).collect()
}

/// What a file keeps of a scaling like Llama 3's; nothing of others.
///
/// # Errors
/// Where the settings aren't among those that files are read with.
pub(super) fn written(rotary: &Rotary) -> Result<Option<Vec<f32>>, String> {
    let RotaryScaling::Llama3 { factor, low, high, original } = rotary.scaling else { return Ok(None) };
    let factors = slower(rotary);
    let found = llama3(&factors, rotary.width, rotary.base, Some(original));
    let is = |name: &str, own: f64| found.as_ref().is_some_and(|found| found[name].as_f64() == Some(own));
    match is("factor", factor) && is("low_freq_factor", low) && is("high_freq_factor", high) {
        true => Ok(Some(factors)),
        false => Err(format!(
            "a GGUF file keeps of Llama 3's scaling of places how much slower each pair turns, and the factors {factor}, {low} and {high} \
             aren't found in that"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_settings_are_found_and_others_are_not() {
        for (factor, original, high, found) in [
            (8.0, 8192, 4.0, true),
            (32.0, 8192, 4.0, true),
            (8.0, 4096, 4.0, false),
            (8.0, 8192, 3.0, false),
        ] {
            let scaling = RotaryScaling::Llama3 { factor, low: 1.0, high, original };
            let rotary = Rotary { width: 128, base: 500_000.0, scaling };
            let factors = slower(&rotary);
            let settings = llama3(&factors, 128, 500_000.0, None);
            assert_eq!(settings.is_some(), found, "{factor} {original}");
            // Where the file names the places, others than the published ones are found.
            assert_eq!(written(&rotary).is_ok(), high == 4.0);
            assert_eq!(llama3(&factors, 128, 500_000.0, Some(original)).is_some(), high == 4.0);
            if let Some(settings) = settings {
                assert_eq!(settings["factor"], factor);
            }
            let of_others = [llama3(&factors, 130, 500_000.0, None), llama3(&[], 128, 500_000.0, None)];
            assert!(of_others.iter().all(Option::is_none));
        }
    }
}
