//! The differences between the instances of a run and instances on machines of their own with a right clock.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clocks::Clocks;
use crate::nemesis::Fault;
use crate::network::Network;

/// The listen address of every twin, as the twin knows it.
const TWIN_ADDRESS: &str = "127.0.0.1:80";

/// The servers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A Redis and a MariaDB.
    Single,
    /// A small Redis Cluster and a MariaDB.
    Cluster,
    /// A Redis Cluster, a Galera cluster and three members of etcd.
    Installation,
    /// A Redis with a replica and three sentinels, and a MariaDB.
    Sentinels,
    /// The same, and the first primary cannot be made a replica.
    LastingPrimary,
}

impl Layout {
    /// The number of shards of a new database.
    pub const fn shards(self) -> usize {
        match self {
            Self::Cluster | Self::Installation => 3,
            Self::Single | Self::Sentinels | Self::LastingPrimary => 2,
        }
    }

    /// By how much there are more customers and units than usual. More units last for longer faults.
    pub const fn scale(self) -> u32 {
        if matches!(self, Self::Installation) { 3 } else { 1 }
    }
}

/// The setup of a run.
pub struct Setup {
    pub layout: Layout,
    pub network: Network,
    /// The endpoints of etcd, if the run has any.
    pub etcd: Option<String>,
    /// `None` if all processes run by the machine's clock.
    pub clocks: Option<Clocks>,
    /// Whether the instances begin in the previous release.
    pub is_previous: bool,
    /// `None` if every instance has an address of its own.
    pub one_address: Option<OneAddress>,
}

impl Setup {
    /// The setup that `faults` need. `folder` is the run's.
    pub fn of(faults: &[Fault], layout: Layout, instances: usize, folder: &Path) -> Self {
        let any = |is_kind: fn(&Fault) -> bool| faults.iter().any(is_kind);
        Self {
            layout,
            network: if layout == Layout::Installation { Network::of_suite() } else { Network::default() },
            etcd: None,
            clocks: any(|fault| matches!(fault, Fault::Clock(_))).then(|| Clocks::new(instances)),
            is_previous: any(|fault| matches!(fault, Fault::Release(_))),
            one_address: any(|fault| matches!(fault, Fault::Twins)).then(|| OneAddress::build(folder)),
        }
    }

    /// The number of shards. The previous release has one.
    pub const fn shards(&self) -> usize {
        if self.is_previous { 1 } else { self.layout.shards() }
    }
}

/// The same listen address for several instances, as on cloned machines. A preloaded library binds a port of its own for
/// each of them.
#[derive(Clone)]
pub struct OneAddress {
    library: PathBuf,
}

impl OneAddress {
    fn build(folder: &Path) -> Self {
        let library = folder.join("one_address.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/one_address.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().expect("a C compiler is installed").success(), "{compiler:?}");
        Self { library }
    }

    /// Lets `command` bind `port`. Returns the address that `command` must be told to bind.
    pub fn govern(&self, command: &mut Command, port: u16) -> &'static str {
        let inside = TWIN_ADDRESS.rsplit(':').next().expect("the address has a port");
        command.env("LD_PRELOAD", &self.library).env("PORT_INSIDE", inside).env("PORT_OUTSIDE", port.to_string());
        TWIN_ADDRESS
    }
}
