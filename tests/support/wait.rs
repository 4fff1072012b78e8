//! Waiting for what another process does, with a limit.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// Nothing that is waited for takes longer on the slowest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How often is looked.
const EVERY: Duration = Duration::from_millis(3);

/// Looks again and again until there is an answer; `what` is what was waited for in vain.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(LIMIT, what, look).await
}

/// The same for what may take longer.
pub(crate) async fn until_within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(limit, waiting).await.unwrap_or_else(|_| panic!("waited {limit:?} in vain: {what}"))
}
