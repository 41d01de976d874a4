//! The versions of the stores.

/// Longest version that is shown, in bytes. A server can answer anything.
const SHOWN_BYTES_MAX: usize = 60;

/// A store that is older than the oldest version that the program works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{store} {found} is too old. {store} {}.{} or later is required", required[0], required[1])]
pub struct TooOld {
    store: &'static str,
    found: String,
    required: [u32; 2],
}

/// Checks the version `found` of a store against the oldest version, major and minor. A version that begins with no
/// number passes, because some managed services have names for their versions.
///
/// # Errors
/// Returns [`TooOld`] if the version is older.
pub fn check_version(store: &'static str, found: &str, required: [u32; 2]) -> Result<(), TooOld> {
    match major_and_minor(found) {
        Some(version) if version < required => {
            let shown = found.chars().filter(|char| char.is_ascii_graphic()).take(SHOWN_BYTES_MAX).collect();
            Err(TooOld { store, found: shown, required })
        }
        _ => Ok(()),
    }
}

/// The first two numbers of a version. A missing second number is 0. `None` if the version begins with no number.
fn major_and_minor(version: &str) -> Option<[u32; 2]> {
    let (major, rest) = leading_number(version.trim().trim_start_matches(['v', 'V']))?;
    let minor = rest.strip_prefix('.').and_then(leading_number).map_or(0, |(minor, _)| minor);
    Some([major, minor])
}

/// The number at the beginning of a text, and the rest.
fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok().map(|number| (number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_numbers() {
        for (found, is_old) in [
            ("6.1.99", true),
            ("6.2.0", false),
            ("6.10.0", false),
            ("10.0", false),
            ("5.999", true),
            ("6", true),
            ("7", false),
            ("v6.2-rc.1", false),
            ("V3", true),
        ] {
            assert_eq!(check_version("Store", found, [6, 2]).is_err(), is_old, "{found}");
        }
    }

    #[test]
    fn a_version_without_a_number_passes() {
        for found in ["", ".", "unstable", "mysql_aurora.3.04.0", "99999999999999999999.1", "\u{fc}6.0"] {
            assert_eq!(check_version("Store", found, [6, 2]), Ok(()), "{found}");
        }
    }

    #[test]
    fn the_error_names_both_versions_and_shows_a_short_part_of_a_long_one() {
        let error = check_version("Store", "6.0.16\r\n", [6, 2]).expect_err("it is older");
        assert_eq!(error.to_string(), "Store 6.0.16 is too old. Store 6.2 or later is required");
        let long = format!("1.{}", "x".repeat(10_000));
        let error = check_version("Store", &long, [6, 2]).expect_err("it is older");
        assert!(error.to_string().len() < 120, "{error}");
    }
}
