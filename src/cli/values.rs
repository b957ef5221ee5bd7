//! Values of flags: what is allowed, and what to write instead of what isn't.

/// A whole number from 1.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_string()),
        Ok(count) => Ok(count),
        Err(_) => Err("write a whole number from 1, such as 32".to_string()),
    }
}

/// How many threads may work.
pub fn threads(text: &str) -> Result<usize, String> {
    match count(text)? {
        count if count > 1024 => {
            Err("at most 1024 threads are made; leave it out to use every core".to_string())
        }
        count => Ok(count),
    }
}

/// A learning rate.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e3 => Ok(rate),
        Ok(_) => Err("it must be above 0 and at most 1000; 0.01 is a good start".to_string()),
        Err(_) => Err("write a number such as 0.01 or 1e-2".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_no_sense_are_refused_with_the_mend() {
        assert_eq!(count("17"), Ok(17));
        assert!(count("0").unwrap_err().contains("at least 1"));
        assert!(count("-3").unwrap_err().contains("such as"));
        assert_eq!(threads("2"), Ok(2));
        assert!(threads("4000").unwrap_err().contains("1024"));
        assert_eq!(rate("1e-2"), Ok(0.01));
        for bad in ["0", "-1", "nan", "inf"] {
            assert!(rate(bad).unwrap_err().contains("0.01"), "{bad}");
        }
    }
}
