//! The clocks of the processes. A step of Redis' clock is recorded, because Redis dates the claims.

use super::World;
use crate::clocks::Clocks;
use crate::history::EventKind;

impl World {
    fn settable_clocks(&self) -> &Clocks {
        self.clocks.as_ref().expect("a run with faults of clocks has clocks")
    }

    /// Sets the clock of an instance to `ahead_s` seconds ahead of the machine's clock.
    pub fn step_clock_of(&self, instance: usize, ahead_s: i64) {
        self.settable_clocks().instances[instance].set(ahead_s);
    }

    /// Sets the clock of Redis to `ahead_s` seconds ahead of the machine's clock.
    pub fn step_clock_of_redis(&self, ahead_s: i64) {
        self.recorder.note(EventKind::ClockSteps { ahead_ms: ahead_s * 1_000 });
        self.settable_clocks().redis.set(ahead_s);
    }

    /// Records that no process is frozen since before the last step of Redis' clock.
    pub fn note_clock_stepped(&self) {
        self.recorder.note(EventKind::ClockStepped);
    }

    /// Sets all clocks to the time of the machine.
    pub fn set_clocks_right(&self) {
        if let Some(clocks) = &self.clocks {
            clocks.instances.iter().for_each(|clock| clock.set(0));
            self.step_clock_of_redis(0);
            self.note_clock_stepped();
        }
    }
}
