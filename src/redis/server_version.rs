//! The oldest versions of Redis and Valkey that the program works with.

use redis::Value;

use crate::base::{TooOld, check_version};

/// Checks the version in the reply to `INFO server`. Valkey also names the version of Redis that it is compatible with.
///
/// # Errors
/// Returns [`TooOld`].
pub(super) fn check(info: &Value) -> Result<(), TooOld> {
    if let Some(version) = field(info, "valkey_version") {
        return check_version("Valkey", &version, [7, 2]);
    }
    check_version("Redis", &field(info, "redis_version").unwrap_or_default(), [6, 2])
}

/// The value of a field in the reply to `INFO`.
pub(super) fn field(info: &Value, name: &str) -> Option<String> {
    let info: String = redis::from_redis_value_ref(info).ok()?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(info: &str) -> Result<(), String> {
        check(&Value::BulkString(info.as_bytes().to_vec())).map_err(|error| error.to_string())
    }

    #[test]
    fn supported_versions_pass() {
        for info in [
            "# Server\r\nredis_version:6.2.0\r\nredis_mode:standalone\r\n",
            "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\n",
            "# Server\r\nredis_version:8.0.6\r\n",
            "# Server\r\nredis_version:255.255.255\r\n",
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.5\r\n",
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n",
            "# Server\r\nrun_id:1\r\n",
        ] {
            assert_eq!(check_text(info), Ok(()), "{info}");
        }
    }

    #[test]
    fn older_versions_are_named_with_the_required_one() {
        for (info, sentence) in [
            (
                "# Server\r\nredis_version:6.0.16\r\nredis_git_sha1:0\r\n",
                "Redis 6.0.16 is too old. Redis 6.2 or later is required",
            ),
            ("redis_version:5.0.14\r\n", "Redis 5.0.14 is too old. Redis 6.2 or later is required"),
            (
                "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.0\r\n",
                "Valkey 7.1.0 is too old. Valkey 7.2 or later is required",
            ),
        ] {
            assert_eq!(check_text(info), Err(sentence.to_owned()));
        }
    }
}
