//! The state: the tables, Redis, and two instances.

pub const INSTANCES: usize = 2;

pub type Epoch = u8;
pub type Format = u8;

/// A release, by the highest format that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    Previous,
    Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub release: Release,
    pub frozen: bool,
    /// Whether its row is in `instances`.
    pub registered: bool,
    /// The epoch that the gate is open for.
    pub gate: Option<Epoch>,
    /// The epoch that a rebuild of this process has raised and not loaded.
    pub rebuild: Option<Epoch>,
}

/// The command `raise-format`, between its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Idle,
    /// No instance of the previous release was registered.
    Checked,
    /// The first of the two changes is done.
    Halfway,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub processes: [Option<Process>; INSTANCES],
    /// The row of a dead process of the previous release.
    pub dead_row: bool,
    /// Whether `instances` takes only rows of the current release.
    pub constrained: bool,
    pub epoch: Epoch,
    pub format: Format,
    pub wanted: Format,
    /// Whether MySQL and Redis have an archived coupon, which is data of format 2.
    pub archived: bool,
    pub tombstone: bool,
    /// The epoch loaded into Redis.
    pub loaded: Epoch,
    pub command: Command,
    pub starts: u8,
    pub crashes: u8,
    pub freezes: u8,
    /// Whether a process of the previous release has used or replaced data of format 2.
    pub misread: bool,
}

impl Process {
    pub fn start(release: Release) -> Self {
        Self { release, frozen: false, registered: false, gate: None, rebuild: None }
    }
}

impl State {
    /// Two open instances of the previous release.
    pub fn new() -> Self {
        let process = Process { registered: true, gate: Some(1), ..Process::start(Release::Previous) };
        Self {
            processes: [Some(process); INSTANCES],
            dead_row: false,
            constrained: false,
            epoch: 1,
            format: 1,
            wanted: 1,
            archived: false,
            tombstone: false,
            loaded: 1,
            command: Command::Idle,
            starts: 0,
            crashes: 0,
            freezes: 0,
            misread: false,
        }
    }

    pub fn living(&self) -> impl Iterator<Item = (usize, Process)> {
        let running = self.processes.iter().enumerate().filter_map(|(at, process)| Some((at, (*process)?)));
        running.filter(|(_, process)| !process.frozen)
    }

    /// Whether `instances` has a row of the previous release.
    pub fn has_previous_row(&self) -> bool {
        let mut rows = self.processes.iter().flatten().filter(|process| process.registered);
        self.dead_row || rows.any(|process| process.release == Release::Previous)
    }
}
