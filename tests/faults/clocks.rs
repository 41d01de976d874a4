//! The clocks of Redis and of the instances, which a fault can set.

use crate::clock::Clock;

/// A clock for Redis and its replicas, and a clock for each instance. Dropping the value deletes their files.
pub struct Clocks {
    pub redis: Clock,
    pub instances: Vec<Clock>,
}

impl Clocks {
    pub fn new(instances: usize) -> Self {
        Self { redis: Clock::new(), instances: (0..instances).map(|_| Clock::new()).collect() }
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        self.redis.remove();
        self.instances.iter().for_each(Clock::remove);
    }
}
