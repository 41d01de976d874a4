//! A server as a child process, with its data in a folder of its own. Tests kill, freeze, empty and restore it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::signal;

/// A child process and its data folder. Dropping the value kills the process and deletes the data and all copies.
pub struct DataServer {
    folder: PathBuf,
    command: Box<dyn Fn(&Path) -> Command + Send + Sync>,
    child: Child,
}

impl DataServer {
    /// Starts the server built by `command` for an empty folder. The folder's name begins with `name`.
    pub fn start(name: &str, command: impl Fn(&Path) -> Command + Send + Sync + 'static) -> Self {
        let folder = std::env::temp_dir().join(format!("couponrush-{name}-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let child = spawn(command(&folder));
        Self { folder, command: Box::new(command), child }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills the process, as in a crash.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process runs");
        self.child.wait().expect("a killed process ends");
    }

    /// Freezes the process (SIGSTOP). Connections stay open and get no answers.
    pub fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// Continues the process (SIGCONT).
    pub fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    /// Limits the size of files that the process writes, in bytes. `None` removes the limit. A process that ignores the
    /// signal `XFSZ` gets an error beyond the limit, as on a full disk.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let (process, limit) = (self.child.id().to_string(), format!("--fsize={limit}:unlimited"));
        let limited = Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(limited.expect("prlimit of util-linux is installed").success(), "{limit}");
    }

    /// Starts the process again with its stored data. The process must be stopped.
    pub fn start_again(&mut self) {
        self.child = spawn((self.command)(&self.folder));
    }

    /// Deletes the data. The process must be stopped.
    pub fn empty(&self) {
        std::fs::remove_dir_all(&self.folder).expect("the folder exists");
        std::fs::create_dir_all(&self.folder).expect("the temporary folder can be written");
    }

    /// Copies the data as they are now.
    pub fn save(&self) -> PathBuf {
        let copy = self.folder.with_extension(format!("{:08x}", rand::random::<u32>()));
        copy_folder(&self.folder, &copy);
        copy
    }

    /// Replaces the data by a copy. The process must be stopped.
    pub fn bring_back(&self, copy: &Path) {
        std::fs::remove_dir_all(&self.folder).expect("the folder exists");
        copy_folder(copy, &self.folder);
    }
}

impl Drop for DataServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The names of copies and sockets begin with the folder's name.
        let name = self.folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        let siblings =
            std::fs::read_dir(self.folder.parent().expect("a folder has a parent")).into_iter().flatten().flatten();
        for entry in siblings.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)) {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the temporary folder can be written");
    for entry in std::fs::read_dir(from).expect("the folder exists") {
        let entry = entry.expect("the folder can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("the temporary folder can be written");
        }
    }
}
