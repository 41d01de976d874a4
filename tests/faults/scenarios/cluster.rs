//! Scenarios with several servers of a kind. `scripts/cluster-faults` runs them, and makes the network that is cut.

use super::{Scenario, scenario, short};
use crate::nemesis::{AppFault, ClusterFault, Fault, RedisFault, ReleaseFault};
use crate::setup::Layout;

const fn on(layout: Layout, scenario: Scenario<'static>) -> Scenario<'static> {
    Scenario { layout, ..scenario }
}

pub const CLUSTER: [Scenario<'static>; 10] = [
    on(
        Layout::Cluster,
        short(
            "cluster-short",
            2,
            &[Fault::Cluster(ClusterFault::KillPrimary(0)), Fault::Cluster(ClusterFault::MoveSlot(1))],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-servers",
            3,
            &[
                Fault::Cluster(ClusterFault::KillPrimary(0)),
                Fault::Cluster(ClusterFault::MoveSlot(1)),
                Fault::App(AppFault::Kill),
                Fault::Cluster(ClusterFault::KillWriter),
                Fault::Cluster(ClusterFault::KillEtcdLeader),
                Fault::Cluster(ClusterFault::KillPrimary(2)),
            ],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-writers",
            3,
            &[Fault::Cluster(ClusterFault::SeveralWriters), Fault::Cluster(ClusterFault::KillWriter)],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-minority",
            3,
            &[Fault::Cluster(ClusterFault::EtcdMinority), Fault::Cluster(ClusterFault::GaleraMinority)],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-cut",
            3,
            &[Fault::Cluster(ClusterFault::CutOffInstance), Fault::Cluster(ClusterFault::MoveSlot(0))],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-cut-pair",
            3,
            &[Fault::Cluster(ClusterFault::CutOffPair(0)), Fault::Cluster(ClusterFault::CutOffPair(1))],
        ),
    ),
    on(
        Layout::Installation,
        scenario(
            "cluster-upgrade",
            3,
            &[
                Fault::Release(ReleaseFault::Upgrade(0)),
                Fault::Release(ReleaseFault::Upgrade(1)),
                Fault::Release(ReleaseFault::RaiseTooEarly),
                Fault::Release(ReleaseFault::Upgrade(2)),
                Fault::Release(ReleaseFault::Raise),
            ],
        ),
    ),
    on(
        Layout::Sentinels,
        scenario(
            "sentinels",
            2,
            &[Fault::Cluster(ClusterFault::KillPrimary(0)), Fault::Cluster(ClusterFault::SentinelsAway)],
        ),
    ),
    on(Layout::LastingPrimary, scenario("lasting-primary", 2, &[Fault::Cluster(ClusterFault::FailOver)])),
    scenario("moving-address", 2, &[Fault::Redis(RedisFault::Takeover), Fault::Redis(RedisFault::Promotion)]),
];
