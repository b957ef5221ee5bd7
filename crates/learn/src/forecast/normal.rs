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

/// As [`quantile`], of Student's distribution, by the first terms of its expansion in one by its degrees of freedom.
pub(super) fn student(share: f64, freedom: f64) -> f64 {
    let z = quantile(share);
    let square = z * z;
    let terms = [
        (square + 1.0) / 4.0,
        ((5.0 * square + 16.0) * square + 3.0) / 96.0,
        (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / 384.0,
    ];
    z * (1.0 + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom))
}

#[cfg(test)]
mod tests {
    use super::{quantile, student};

    #[test]
    fn quantiles_of_few_values_are_those_of_tables() {
        for (share, freedom, wanted) in
            [(0.95, 4.0, 2.131_846_8), (0.95, 8.0, 1.859_548), (0.975, 30.0, 2.042_272_5)]
        {
            assert!(
                (student(share, freedom) - wanted).abs() < 2e-3,
                "{share} {freedom}: {}",
                student(share, freedom)
            );
        }
    }

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
