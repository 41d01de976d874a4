//! chromedriver as a child process.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::helpers::free_address;

/// Limit for chromedriver to accept connections.
const START_WAIT: Duration = Duration::from_secs(20);

/// A running chromedriver. Dropping the value kills chromedriver with all browsers, and deletes the temporary folder.
pub struct Driver {
    pub address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Driver {
    pub fn start() -> Self {
        let address = free_address();
        // Browsers leave profiles and locks in the temporary folder, so each driver gets a separate folder.
        let folder = std::env::temp_dir().join(format!("couponrush-browser-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).env("TMPDIR", &folder);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // A new process group, which the browsers inherit. `drop` kills the whole group.
        let child = command.process_group(0).spawn();
        let child = child.expect("chromedriver is installed (scripts/install chromium chromium-driver)");
        let deadline = Instant::now() + START_WAIT;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, child, folder }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let kill = format!("kill -KILL -{}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        // Killed browsers may still write files for a moment.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
