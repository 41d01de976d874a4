//! A system clock for a single child process, which a test can set.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// A clock that is a number of seconds ahead of the real clock. Clones are the same clock. The compiled library and the
/// offset stay in a temporary folder, which [`Clock::remove`] deletes.
#[derive(Clone)]
pub struct Clock {
    folder: PathBuf,
}

impl Clock {
    /// A clock that agrees with the real one.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("couponrush-clock-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let clock = Self { folder };
        std::fs::write(clock.offset(), 0_i64.to_ne_bytes()).expect("the temporary folder can be written");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/helpers/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(clock.library()).arg(source);
        assert!(compiler.status().expect("a C compiler is installed").success(), "{compiler:?}");
        clock
    }

    /// Sets the clock to `ahead_s` seconds ahead of the real one, at once for every running process.
    pub fn set(&self, ahead_s: i64) {
        let file = std::fs::OpenOptions::new().write(true).open(self.offset()).expect("the file exists");
        file.write_all_at(&ahead_s.to_ne_bytes(), 0).expect("the temporary folder can be written");
    }

    /// Lets `command` run by this clock.
    pub fn govern(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("CLOCK_OFFSET_FILE", self.offset());
    }

    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    fn library(&self) -> PathBuf {
        self.folder.join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.folder.join("offset")
    }
}
