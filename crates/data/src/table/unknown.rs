//! The error for a column that isn't there.

use kiln_map::nearest;

use crate::error::Error;

/// `there is no column "agee"; did you mean "age"?`, or the names there are.
pub(crate) fn unknown_column<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Error {
    let mend = match nearest(word, candidates.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            let mut names: Vec<&str> = candidates.into_iter().take(13).collect();
            if names.len() > 12 {
                names[12] = "…";
            }
            format!("there are: {}", names.join(", "))
        }
    };
    Error::new(format!("there is no column \"{word}\"; {mend}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let names = ["age", "sex", "resting bp s"];
        assert!(unknown_column("agee", names).to_string().contains("did you mean \"age\"?"));
        assert!(unknown_column("cholesterol", names).to_string().contains("age, sex, resting bp s"));
    }
}
