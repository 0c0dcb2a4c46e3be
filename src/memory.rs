//! How much memory there is, and what does not fit into it. Whatever takes much asks here before it takes it: the
//! system may grant more than there is, and kill the process when that is used.

#[cfg(feature = "tables")]
use std::path::Path;

use threadcount_kernels::machine::machine;

use crate::{Error, Result};

/// Bytes of memory that this process may have, if that is known.
pub(crate) fn limit() -> Option<u64> {
    machine().memory
}

/// Refuses to use more bytes than there are.
///
/// # Errors
/// [`Error::Memory`].
pub(crate) fn check(needed: u64) -> Result<()> {
    match limit() {
        Some(limit) if needed > limit => Err(Error::Memory { needed, machine: Some(limit) }),
        _ => Ok(()),
    }
}

/// Refuses what a file makes necessary, if `limit` is less; `what` needs it, and `mend` says what helps.
///
/// # Errors
/// [`Error::Data`] about `path`.
#[cfg(feature = "tables")]
pub(crate) fn check_of(
    path: &Path,
    needed: u64,
    limit: Option<u64>,
    what: &str,
    mend: &str,
) -> Result<()> {
    match limit {
        Some(limit) if needed > limit => Err(Error::data(
            path,
            format!("{what} {}, and {} may be used: {mend}", amount(needed), size(limit)),
        )),
        _ => Ok(()),
    }
}

/// `1.5 GiB of memory`
pub(crate) fn amount(bytes: u64) -> String {
    format!("{} of memory", size(bytes))
}

/// Bytes in the largest unit that leaves a number from 1 up.
pub(crate) fn size(bytes: u64) -> String {
    let mut amount = bytes as f64 / f64::from(1 << 20);
    for unit in ["MiB", "GiB"] {
        if amount < 1024.0 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_exactly_fits() {
        assert!(check(0).is_ok());
        let fault = check(u64::MAX);
        assert_eq!(fault.is_err(), limit().is_some());
    }

    #[cfg(feature = "tables")]
    #[test]
    fn a_file_is_refused_by_its_name() {
        let check =
            |needed, limit| check_of(Path::new("t.csv"), needed, limit, "needs", "take less");
        assert!(check(100, Some(100)).is_ok() && check(u64::MAX, None).is_ok());
        let fault = check(3 << 30, Some(1 << 20)).unwrap_err();
        let told = "t.csv: needs 3.0 GiB of memory, and 1.0 MiB may be used: take less";
        assert_eq!((fault.to_string().as_str(), fault.exit_code()), (told, 3));
    }
}
