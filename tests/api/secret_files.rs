//! Secrets from files, named by settings like `COUPONRUSH_JWT_SECRET_FILE`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::helpers::{Client, SECRET, Stores};
use crate::program::{HIDDEN, Running, address_in, run, settings, text};

/// The secrets of `serve`.
const SECRETS: [&str; 7] = [
    "COUPONRUSH_REDIS_URL",
    "COUPONRUSH_MYSQL_URL",
    "COUPONRUSH_JWT_SECRET",
    "COUPONRUSH_CLAIM_SECRET",
    "COUPONRUSH_SIGN_SECRET",
    "COUPONRUSH_TICKET_SECRET",
    "COUPONRUSH_ETCD_USER",
];
/// The largest file of a secret in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// A folder with files of a test. Dropping the value deletes it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn create() -> Self {
        let path = std::env::temp_dir().join(format!("couponrush-files-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).expect("the temporary folder can be written");
        Self(path)
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the folder can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asserts that a command ends with exit code 1 and exactly this sentence.
fn assert_refused(command: &str, settings: &[(&str, &str)], sentence: &str) {
    let arguments: &[&str] = match command {
        "seed" => &["seed", "--out", "/nonexistent"],
        "admin" => &["admin", "create", "root"],
        "poisoned" => &["poisoned", "list"],
        command => &[command],
    };
    let output = run(arguments, settings);
    assert_eq!(text(&output.stderr), format!("couponrush: {sentence}\n"), "{arguments:?}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{arguments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_can_come_from_a_file() {
    let stores = Stores::create(None).await;
    stores.own().await;
    let folder = Folder::create();
    let values = [
        &stores.redis_url,
        &stores.mysql_url,
        SECRET,
        &format!("{SECRET} of claims"),
        SECRET,
        SECRET,
        "couponrush:of-the-test",
    ];
    // A trailing newline is no part of the secret.
    let files: Vec<(String, String)> = SECRETS
        .iter()
        .zip(values)
        .map(|(name, value)| (format!("{name}_FILE"), folder.write(name, format!("{value}\n"))))
        .collect();
    let others = [
        ("COUPONRUSH_HTTP_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_OPS_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_REDIS_PREFIX", &stores.prefix),
        ("COUPONRUSH_WORKERS", "1"),
        ("COUPONRUSH_DRAIN_SECONDS", "0"),
    ];
    let from_files = files.iter().map(|(name, path)| (name.as_str(), path.as_str()));
    let from_files: Vec<(&str, &str)> = from_files.chain(others).collect();
    let from_variables: Vec<(&str, &str)> = SECRETS.into_iter().zip(values).chain(others).collect();

    let mut token = String::new();
    for (settings, is_first) in [(&from_files, true), (&from_variables, false)] {
        let (program, mut log) = Running::serve(settings);
        let client = Client::new(address_in(&mut log));
        if is_first {
            token = client.user("ann", "customer").await;
        }
        let answer = client.list("ann", &token).await;
        assert_eq!(answer.status, 204, "the secret of the variable is the same: {answer:?}");
        assert_eq!(program.stop("TERM").await.code(), Some(0));
    }
    let audit = run(&["audit"], &from_files);
    assert_eq!(audit.status.code(), Some(0), "{}", text(&audit.stderr));
    // A flag overrides the file as it overrides the variable.
    let audit = run(&["audit", "--mysql-url", "mysql://nobody@127.0.0.1:1/none"], &from_files);
    assert_eq!(audit.status.code(), Some(1), "{}", text(&audit.stdout));
    stores.remove().await;
}

/// Everybody on a machine sees the arguments of its processes.
#[test]
fn a_secret_on_the_command_line_is_warned_of_and_not_repeated() {
    let secret = "a secret on the command line, long enough";
    let output = run(&["serve", "--jwt-secret", secret, "--start-wait", "1"], &settings());
    let errors = text(&output.stderr);
    let warning = "--jwt-secret shows a secret in the list of processes";
    assert!(errors.contains(warning) && errors.contains("use COUPONRUSH_JWT_SECRET_FILE"), "{errors}");
    assert!(!errors.contains(secret), "{errors}");
    let output = run(&["serve", "--start-wait", "1"], &settings());
    assert!(!text(&output.stderr).contains("list of processes"), "variables are not shown");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_by_its_setting_and_path() {
    let folder = Folder::create();
    let large = folder.write("large", format!("{HIDDEN}{}", "x".repeat(BYTES_MAX)));
    let bytes = folder.write("bytes", [HIDDEN.as_bytes(), b"\xff"].concat());
    let directory = folder.0.display().to_string();
    let (missing, endless) = (format!("{directory}/missing"), format!("{directory}/endless"));
    symlink(Path::new("/dev/zero"), &endless).expect("the folder can be written");
    for (path, reason) in [
        (&missing, "cannot be read (No such file or directory (os error 2))"),
        (&directory, "cannot be read (Is a directory (os error 21))"),
        (&large, "is larger than 16384 bytes"),
        (&endless, "is larger than 16384 bytes"),
        (&bytes, "is not UTF-8"),
    ] {
        for command in ["serve", "audit", "migrate", "seed", "admin", "poisoned", "raise-format", "new-installation"] {
            let sentence = format!("COUPONRUSH_MYSQL_URL_FILE: {path} {reason}");
            let mut settings = settings();
            settings.retain(|(name, _)| *name != "COUPONRUSH_MYSQL_URL");
            settings.push(("COUPONRUSH_MYSQL_URL_FILE", path));
            assert_refused(command, &settings, &sentence);
        }
    }
    let settings = [("COUPONRUSH_IMPORT_URL_FILE", missing.as_str()), ("COUPONRUSH_MYSQL_URL", "mysql://a@b/c")];
    assert_refused(
        "import",
        &settings,
        &format!("COUPONRUSH_IMPORT_URL_FILE: {missing} cannot be read (No such file or directory (os error 2))"),
    );
}

#[test]
fn the_value_of_a_file_is_checked_as_that_of_the_variable() {
    let folder = Folder::create();
    let largest = folder.write("largest", HIDDEN.repeat(BYTES_MAX / HIDDEN.len()));
    let (short, empty) = (folder.write("short", format!("{HIDDEN}\n")), folder.write("empty", ""));
    for (name, path, parts) in [
        ("COUPONRUSH_JWT_SECRET", &short, ["at least 32 bytes", "number 1 has 7"]),
        ("COUPONRUSH_CLAIM_SECRET", &empty, ["at least 32 bytes", "number 1 has 0"]),
        ("COUPONRUSH_REDIS_URL", &largest, ["must be", "redis://"]),
        ("COUPONRUSH_MYSQL_URL", &empty, ["must be", "mysql://"]),
    ] {
        let variable = format!("{name}_FILE");
        let mut settings = settings();
        settings.retain(|(other, _)| *other != name);
        settings.push((&variable, path));
        let output = run(&["serve"], &settings);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(name) && parts.iter().all(|part| said.contains(part)), "{name}: {said}");
        assert!(!said.contains(HIDDEN), "{said}");
    }
}

#[test]
fn a_variable_and_a_file_are_not_both_taken() {
    let folder = Folder::create();
    let path = folder.write("secret", HIDDEN);
    for name in ["COUPONRUSH_REDIS_URL", "COUPONRUSH_MYSQL_URL", "COUPONRUSH_JWT_SECRET"] {
        let variable = format!("{name}_FILE");
        let mut settings = settings();
        settings.push((&variable, &path));
        assert_refused("serve", &settings, &format!("{name} and {variable} are both set; set only one"));
    }
}

#[test]
fn a_command_reads_only_the_files_that_it_needs() {
    let unusable: Vec<(String, &str)> = SECRETS.map(|name| (format!("{name}_FILE"), "/nonexistent/secret")).to_vec();
    let unusable: Vec<(&str, &str)> = unusable.iter().map(|(name, path)| (name.as_str(), *path)).collect();
    for arguments in [["openapi"].as_slice(), &["--version"], &["--help"], &["serve", "--help"], &["audit", "--help"]] {
        let output = run(arguments, &unusable);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
    // The command `migrate` does not use Redis.
    let unusable: Vec<_> = unusable.into_iter().filter(|(name, _)| *name != "COUPONRUSH_MYSQL_URL_FILE").collect();
    let output = run(&["migrate", "--mysql-url", HIDDEN], &unusable);
    assert!(text(&output.stderr).contains("mysql://"), "{}", text(&output.stderr));
}

#[test]
fn the_help_names_the_file_of_every_secret() {
    let help = text(&run(&["serve", "--help"], &[]).stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in SECRETS {
        let told = format!("{secret}_FILE may name a file with the value [env: {secret}]");
        assert_eq!(help.matches(&told).count(), 1, "{secret} in {help}");
    }
    assert_eq!(help.matches("may name a file with the value").count(), SECRETS.len(), "{help}");
    let help = text(&run(&["import", "--help"], &[]).stdout);
    assert!(help.contains("COUPONRUSH_IMPORT_URL_FILE"), "{help}");
}
