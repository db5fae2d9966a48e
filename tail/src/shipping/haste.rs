//! The pod's end: what is not sent then is lost. So pauses are short, and nobody waits long for a store that is gone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::Agent;

/// The longest pause, whatever the store asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A request that is on its way when the end begins gets so long from then on; another connection then leads to a store
/// that has come back, while this one may lead to a node that is gone, which nobody says.
pub const LONGEST_ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Whether the end has begun.
#[derive(Debug, Default)]
pub struct Haste {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    begun: bool,
    /// What the last request uses that was begun before the end.
    sending: Option<Agent>,
}

impl Haste {
    /// Note that the end has begun.
    pub fn set(&self) {
        self.state().begun = true;
        self.changed.notify_all();
    }

    /// Return whether the end has begun.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state().begun
    }

    /// Note that a request begins.
    pub fn begins(&self, agent: &Agent) {
        let mut state = self.state();
        state.sending = (!state.begun).then(|| agent.clone());
    }

    /// Let a request fail that was begun before the end.
    pub fn cut_off(&self) {
        if let Some(agent) = self.state().sending.take() {
            agent.shutdown();
        }
    }

    /// Pause; where the end begins meanwhile, return at once.
    pub fn pause(&self, pause: Duration) {
        let state = self.state();
        let before = state.begun;
        let pause = if before { pause.min(LONGEST_PAUSE) } else { pause };
        drop(self.changed.wait_timeout_while(state, pause, |state| state.begun == before));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_end_makes_pauses_short() {
        let haste = Arc::new(Haste::default());
        let other = Arc::clone(&haste);
        let waiting = std::thread::spawn(move || other.pause(Duration::from_secs(3600)));
        haste.set();
        waiting.join().unwrap();
        haste.pause(Duration::ZERO);
        assert!(haste.is_set());
    }
}
