//! An upgrade and a roll-back with two formats, and the command that raises the format.
//!
//! The previous release knows format 1 only. The current release knows both, and uses format 2 once an operator has
//! raised the format. The row of a shard has the format. Redis gets data of format 2 (an archived coupon) only then. A
//! process of the previous release must never read such data.
//!
//! The operator first sets a constraint on `instances`: no row may have a lower format. Then the operator asks for the
//! format. The next rebuild raises format and epoch together.
//!
//! Two instances start and stop, each in either release. A process freezes, or dies and leaves its row. The command dies
//! between any two steps.

mod protocol;
mod state;
mod steps;

use protocol::{ALL_RAISED, Bounds, FormatProtocol, Guard, HEALS, KNOWN_ONLY};

const UPGRADE: Bounds = Bounds { name: "starts, stops and deaths", starts: 3, crashes: 1, freezes: 0, epochs: 4 };
const FREEZE: Bounds = Bounds { name: "starts, stops and a freeze", starts: 2, crashes: 0, freezes: 1, epochs: 4 };

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 7] = [
    (Guard::Constrained, UPGRADE, KNOWN_ONLY),
    (Guard::RowsChecked, UPGRADE, KNOWN_ONLY),
    (Guard::ConstraintFirst, UPGRADE, KNOWN_ONLY),
    (Guard::BeatFirst, FREEZE, KNOWN_ONLY),
    (Guard::RaisedWithEpoch, FREEZE, KNOWN_ONLY),
    (Guard::PreviousWritten, UPGRADE, KNOWN_ONLY),
    (Guard::CommandRepeats, UPGRADE, HEALS),
];

#[test]
fn two_releases_run_side_by_side_until_the_format_is_raised() {
    for bounds in [UPGRADE, FREEZE] {
        crate::search(bounds.name, FormatProtocol { bounds, without: None }, ALL_RAISED);
    }
}

#[test]
fn without_any_one_of_its_guards_an_upgrade_breaks() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, FormatProtocol { bounds, without: Some(guard) }, property);
    }
}
