//! Where time and randomness come from, so that tests decide both.

use std::{pin::Pin, sync::Arc, time::Duration};

#[cfg(feature = "outbound")]
use jiff::SignedDuration;
use jiff::Timestamp;

/// Time and randomness of one function.
pub trait World: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits this long, or a little longer.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// 128 bits that nobody foresees: ids and jitter are made of them.
    fn random(&self) -> u128;
}

/// A world that can be shared.
pub type SharedWorld = Arc<dyn World>;

/// The machine's clock, Tokio's timer.
#[derive(Debug)]
pub struct Machine {
    random: fn() -> u128,
}

impl Machine {
    /// With this source of randomness.
    pub fn new(random: fn() -> u128) -> Self {
        Self { random }
    }
}

impl World for Machine {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u128 {
        (self.random)()
    }
}

/// Waits until it is `at`.
pub(crate) async fn sleep_until(world: &dyn World, at: Timestamp) {
    loop {
        let left = at.duration_since(world.now());
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => world.sleep(left).await,
            _ => return,
        }
    }
}

/// A random duration below `most`.
#[cfg(feature = "outbound")]
pub(crate) fn spread(world: &dyn World, most: SignedDuration) -> SignedDuration {
    let micros = most.as_micros().max(1).unsigned_abs();
    let micros = world.random() % micros;
    SignedDuration::from_micros(i64::try_from(micros).expect("below a duration that fits"))
}
