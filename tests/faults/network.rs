//! Machines with network connections that a fault can cut.
//!
//! `scripts/cluster-faults` makes a network namespace for each server of Redis and for each instance, and runs the suite in
//! a further one. The bridge `back` joins all namespaces. Customers reach the instances over the bridge `front`, which is
//! never cut. A cut moves the ports of some machines to the bridge `cut`. Machines at `cut` reach only each other.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

/// The names of the namespaces begin with this variable's value. Without it, all processes run on loopback.
const VARIABLE: &str = "FAULTS_NETWORK";

/// The machine of a process.
#[derive(Clone, Debug)]
pub struct Machine {
    namespace: Option<String>,
    /// The address for other servers.
    pub ip: Ipv4Addr,
    /// The address for customers.
    pub front: Ipv4Addr,
}

impl Machine {
    /// This machine, with loopback addresses.
    pub fn here() -> Self {
        Self { namespace: None, ip: Ipv4Addr::LOCALHOST, front: Ipv4Addr::LOCALHOST }
    }

    /// A command that runs on the machine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        // `nsenter` becomes the program, so the program gets the signals of the suite.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
        command
    }
}

/// The network of a run. The default is loopback.
#[derive(Clone, Debug, Default)]
pub struct Network {
    name: Option<String>,
}

impl Network {
    pub fn of_suite() -> Self {
        Self { name: crate::setting(VARIABLE) }
    }

    /// Whether machines can be cut off.
    pub const fn can_be_cut(&self) -> bool {
        self.name.is_some()
    }

    /// The machine of Redis server `number`, from 0.
    pub fn of_redis(&self, number: usize) -> Machine {
        self.machine(&format!("r{}", number + 1), 11 + number)
    }

    /// The machine of instance `number`, from 0.
    pub fn of_instance(&self, number: usize) -> Machine {
        self.machine(&format!("a{}", number + 1), 21 + number)
    }

    /// The machine of the suite, of all other servers, and of the proxies.
    pub fn of_suite_itself(&self) -> Machine {
        let here = Machine::here();
        if self.can_be_cut() { Machine { ip: Ipv4Addr::new(10, 77, 1, 1), ..here } } else { here }
    }

    fn machine(&self, machine: &str, host: usize) -> Machine {
        let Some(name) = &self.name else { return Machine::here() };
        let host = u8::try_from(host).expect("few machines");
        let (ip, front) = (Ipv4Addr::new(10, 77, 1, host), Ipv4Addr::new(10, 77, 2, host));
        Machine { namespace: Some(format!("{name}-{machine}")), ip, front }
    }

    /// Cuts an instance off from all servers, but not from customers. An instance and a Redis server that are cut off
    /// together still reach each other.
    pub fn cut_off(&self, instance: usize, redis: Option<usize>) {
        self.move_to("cut", instance, redis);
    }

    pub fn rejoin(&self, instance: usize, redis: Option<usize>) {
        self.move_to("back", instance, redis);
    }

    fn move_to(&self, bridge: &str, instance: usize, redis: Option<usize>) {
        assert!(self.can_be_cut(), "scripts/cluster-faults makes the network that is cut");
        // The port of Redis moves first, so the instance and this Redis do not reach each other for a moment.
        let ports = redis.map(|redis| format!("r{}", redis + 1)).into_iter().chain([format!("a{}", instance + 1)]);
        for port in ports {
            let mut command = Command::new("ip");
            command.args(["link", "set", &port, "master", bridge]);
            assert!(command.status().expect("iproute2 is installed").success(), "{command:?}");
        }
    }
}
