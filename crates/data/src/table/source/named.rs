//! One of several by its name or its number.

/// The place of what a person named: by its whole name, by the last part of it, or by its number from 1.
pub(super) fn chosen(said: &str, names: &[&str]) -> Option<usize> {
    let own = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
    let place = |fits: &dyn Fn(&str) -> bool| names.iter().position(|name| fits(name));
    place(&|name| name == said)
        .or_else(|| place(&|name| own(name) == said))
        .or_else(|| place(&|name| own(name).eq_ignore_ascii_case(said)))
        .or_else(|| said.parse::<usize>().ok()?.checked_sub(1).filter(|place| *place < names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_before_a_number() {
        let names = ["a/one.csv", "2", "Three"];
        assert_eq!(chosen("one.csv", &names), Some(0));
        assert_eq!(chosen("three", &names), Some(2));
        assert_eq!(chosen("2", &names), Some(1));
        assert_eq!(chosen("3", &names), Some(2));
        assert_eq!((chosen("0", &names), chosen("4", &names), chosen("four", &names)), (None, None, None));
    }
}
