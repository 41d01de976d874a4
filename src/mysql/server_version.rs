//! The oldest versions of MySQL and MariaDB that the program works with.

use crate::base::{TooOld, check_version};

/// Checks `@@version` of a server.
///
/// # Errors
/// Returns [`TooOld`].
pub(super) fn check(version: &str) -> Result<(), TooOld> {
    if !version.to_ascii_lowercase().contains("mariadb") {
        return check_version("MySQL", version, [8, 0]);
    }
    // MariaDB writes this before its version where old clients expect a version of MySQL.
    check_version("MariaDB", version.strip_prefix("5.5.5-").unwrap_or(version), [10, 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_versions_pass() {
        for version in [
            "8.0.11",
            "8.0.36-0ubuntu0.22.04.1",
            "8.0.35-google",
            "8.0.36-28.1",
            "8.4.3",
            "9.7.4-2",
            "8.0.mysql_aurora.3.04.0",
            "10.6.0-MariaDB",
            "10.11.14-MariaDB-0+deb12u2-log",
            "11.8.9-MariaDB-4 from Debian",
            "5.5.5-10.6.14-MariaDB-log",
            "10.6.16-11-MariaDB-enterprise-log",
        ] {
            assert_eq!(check(version), Ok(()), "{version}");
        }
    }

    #[test]
    fn older_versions_are_named_with_the_required_one() {
        for (version, sentence) in [
            ("5.7.44-log", "MySQL 5.7.44-log is too old. MySQL 8.0 or later is required"),
            ("5.5.5", "MySQL 5.5.5 is too old. MySQL 8.0 or later is required"),
            ("5.7.mysql_aurora.2.11.1", "MySQL 5.7.mysql_aurora.2.11.1 is too old. MySQL 8.0 or later is required"),
            (
                "10.5.29-MariaDB-0+deb11u1",
                "MariaDB 10.5.29-MariaDB-0+deb11u1 is too old. MariaDB 10.6 or later is required",
            ),
            ("5.5.5-10.3.39-MariaDB", "MariaDB 10.3.39-MariaDB is too old. MariaDB 10.6 or later is required"),
            ("5.5.68-MariaDB", "MariaDB 5.5.68-MariaDB is too old. MariaDB 10.6 or later is required"),
        ] {
            assert_eq!(check(version).map_err(|error| error.to_string()), Err(sentence.to_owned()));
        }
    }
}
