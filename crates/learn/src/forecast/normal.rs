//! The normal distribution's quantiles.

/// Below which number such a share of the standard normal distribution lies.
pub(super) fn quantile(share: f64) -> f64 {
    if !(share > 0.0 && share < 1.0) {
        return if share == 0.0 {
            f64::NEG_INFINITY
        } else if share == 1.0 {
            f64::INFINITY
        } else {
            f64::NAN
        };
    }
    // Bisection from a wide bracket, in which each half is sure; 60 halvings are below the last bit.
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        let below = 0.5 * libm::erfc(-middle * std::f64::consts::FRAC_1_SQRT_2);
        if below < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_those_of_tables() {
        let wanted =
            [(0.5, 0.0), (0.9, 1.281_551_565_544_6), (0.975, 1.959_963_984_540_054), (1e-9, -5.997_807_015)];
        for (share, wanted) in wanted {
            assert!((quantile(share) - wanted).abs() < 1e-9, "{share}");
        }
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(quantile(-0.1).is_nan());
    }
}
