//! Whether what a run is given is what its program takes; the same words on every device.

use kiln_ir::{DType, Error, ErrorKind, Result};

/// As many arguments, variables or outputs (`what`) as the program takes.
///
/// # Errors
/// Where there are more or fewer.
#[inline]
pub fn count(what: &str, has: usize, wanted: usize) -> Result<()> {
    if has == wanted {
        return Ok(());
    }
    let message = format!("the program takes {wanted} {what}, and was given {has}");
    Err(Error::new(ErrorKind::Shape, "run", message).nowhere())
}

/// Elements of the dtype and number that the program takes at position `i` of its arguments or outputs (`what`).
///
/// # Errors
/// Where they are others.
#[inline]
pub fn elements(what: &str, i: usize, has: (DType, usize), wanted: (DType, usize)) -> Result<()> {
    if has == wanted { Ok(()) } else { Err(others(what, i, has, wanted)) }
}

#[cold]
fn others(what: &str, i: usize, has: (DType, usize), wanted: (DType, usize)) -> Error {
    let kind = if has.0 == wanted.0 { ErrorKind::Shape } else { ErrorKind::DType };
    let message = format!(
        "{what} {i} has {} elements of {}, and the program takes {} of {}",
        has.1, has.0, wanted.1, wanted.0
    );
    Error::new(kind, "run", message).nowhere()
}
