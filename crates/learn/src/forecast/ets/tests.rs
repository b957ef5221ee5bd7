//! Exponential smoothing held to the values of statsmodels and statsforecast that are kept beside it.

use serde_json::Value;

use super::*;

fn reference() -> Vec<Value> {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn form(text: &str, period: usize) -> EtsForm {
    let error = if text.starts_with('A') { EtsErrors::Additive } else { EtsErrors::Multiplicative };
    let trend = match &text[1..text.len() - 1] {
        "N" => TrendKind::None,
        "A" => TrendKind::Additive,
        _ => TrendKind::Damped,
    };
    let season = match &text[text.len() - 1..] {
        "N" => SeasonKind::None,
        "A" => SeasonKind::Additive,
        _ => SeasonKind::Multiplicative,
    };
    EtsForm { error, trend, season, period }
}

fn each_form(mut look: impl FnMut(&str, &[f64], EtsForm, &Value)) {
    for series in reference() {
        let (values, period) = (numbers(&series["values"]), series["period"].as_u64().unwrap() as usize);
        for kept in series["forms"].as_array().unwrap() {
            let form = form(kept["form"].as_str().unwrap(), period);
            look(series["name"].as_str().unwrap(), &values, form, kept);
        }
    }
}

#[test]
fn at_the_same_parameters_likelihood_and_forecast_are_those_of_statsmodels() {
    each_form(|name, values, form, kept| {
        let at = &kept["at"];
        let has = |there: bool, value: f64| if there { value } else { 0.0 };
        let parameters = EtsParameters {
            alpha: 0.4,
            beta: has(form.trend != TrendKind::None, 0.05),
            gamma: has(form.season != SeasonKind::None, 0.15),
            phi: if form.trend == TrendKind::Damped { 0.92 } else { 1.0 },
        };
        let seasonal = numbers(&at["seasonal"]);
        let first = EtsStates {
            level: at["level"].as_f64().unwrap(),
            slope: at["slope"].as_f64().unwrap(),
            seasonal: if seasonal.is_empty() { vec![1.0] } else { seasonal },
        };
        // Of relative errors what is expected must be above zero, which statsmodels doesn't ask for.
        let Some(ours) = Ets::with(form, parameters, first, values) else {
            assert_eq!((name, form.is_relative()), ("sunspots", true));
            return;
        };
        let wanted = at["likelihood"].as_f64().unwrap();
        assert!(
            (ours.likelihood - wanted).abs() < 1e-6 * wanted.abs(),
            "{name} {form}: {} for {wanted}",
            ours.likelihood
        );
        for (own, wanted) in ours.points(24).iter().zip(numbers(&at["forecast"])) {
            assert!((own - wanted).abs() < 1e-7 * wanted.abs(), "{name} {form}: {own} for {wanted}");
        }
    });
}

#[test]
fn the_largest_likelihood_is_not_below_that_of_statsmodels_and_statsforecast() {
    let mut worse = Vec::new();
    each_form(|name, values, form, kept| {
        let ours = Ets::fit(values, form).unwrap();
        let likelihood = kept["likelihood"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let aicc = kept["aicc"].as_f64().unwrap_or(f64::INFINITY);
        // Where statsmodels has no equal, statsforecast, which goes beyond γ < 1 − α where the model is still invertible.
        let is_worse = match form.season {
            SeasonKind::Multiplicative => ours.aicc > aicc + 2.5,
            SeasonKind::None | SeasonKind::Additive => ours.likelihood < likelihood - 0.1,
        };
        if is_worse {
            worse.push(format!(
                "{name} {form}: {:.3} for {likelihood:.3}; AICc {:.2} for {aicc:.2}  {:?}",
                ours.likelihood, ours.aicc, ours.parameters
            ));
        }
    });
    assert!(worse.is_empty(), "{worse:#?}");
}

#[test]
fn a_form_is_chosen_that_suits_at_least_as_well_as_that_of_statsforecast() {
    for series in reference() {
        let (values, period) = (numbers(&series["values"]), series["period"].as_u64().unwrap() as usize);
        let (ours, auto) = (Ets::select(&values, Some(period)).unwrap(), &series["auto"]);
        let aicc = auto["aicc"].as_f64().unwrap();
        assert!(ours.aicc <= aicc + 0.1, "{}: {} for {aicc}", series["name"], ours.aicc);
        if (ours.aicc - aicc).abs() < 0.1 && Some(ours.form.to_string().as_str()) == auto["form"].as_str() {
            for (own, wanted) in ours.points(24).iter().zip(numbers(&auto["mean"])) {
                assert!((own - wanted).abs() < 1e-3 * wanted.abs(), "{}: {own} for {wanted}", series["name"]);
            }
            // Theirs counts one parameter more.
            let bands = ours.quantiles(&[0.1, 0.9], 24);
            let sides = numbers(&auto["low"]).into_iter().zip(numbers(&auto["high"])).enumerate();
            for (step, (low, high)) in sides {
                let (own, wanted) = (bands[1][step] - bands[0][step], high - low);
                assert!(
                    (own - wanted).abs() < 0.06 * wanted,
                    "{} step {step}: {own} for {wanted}",
                    series["name"]
                );
            }
        }
    }
}

#[test]
fn series_that_are_short_the_same_or_full_of_gaps_are_no_trouble() {
    assert!(Ets::select(&[], None).is_none());
    assert!(Ets::select(&[1.0, 2.0, 3.0], None).is_none());
    assert!(Ets::select(&[f64::NAN; 30], Some(7)).is_none());
    let flat = Ets::select(&[5.0; 30], Some(7)).unwrap();
    assert!(flat.points(3).iter().all(|point| (point - 5.0).abs() < 1e-6));
    let zeros = Ets::select(&[0.0; 30], Some(7)).unwrap();
    assert!(zeros.points(3).iter().all(|point| point.abs() < 1e-6));
    let gapped: Vec<f64> = (0..60)
        .map(|at| if at % 5 == 2 { f64::NAN } else { 100.0 + at as f64 + [4.0, -1.0, -3.0][at % 3] })
        .collect();
    let fitted = Ets::select(&gapped, Some(3)).unwrap();
    for (step, point) in fitted.points(3).iter().enumerate() {
        let wanted = 160.0 + step as f64 + [4.0, -1.0, -3.0][(60 + step) % 3];
        assert!((point - wanted).abs() < 0.2, "{}: {point} for {wanted}", fitted.form);
    }
    assert!(fitted.quantiles(&[0.1, 0.9], 3).iter().flatten().all(|bound| bound.is_finite()));
}

#[test]
fn states_go_on_behind_more_values_as_if_all_had_come_at_once() {
    let values: Vec<f64> =
        (0..80).map(|at| 50.0 + [5.0, 0.0, -2.0, -3.0][at % 4] + (at * 7 % 11) as f64).collect();
    let fitted = Ets::select(&values[..61], Some(4)).unwrap();
    let whole = Ets::with(fitted.form, fitted.parameters, fitted.first.clone(), &values).unwrap();
    assert_eq!(fitted.after(&values[61..]).unwrap().points(5), whole.points(5));
}
