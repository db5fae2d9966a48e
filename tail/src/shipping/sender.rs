//! A thread that sends a batch until each record of it is accepted or rejected.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::batch::Body;
use super::client::{Answer, Client, Outcome};
use super::encoding::Encoding;
use super::haste::Haste;
use crate::complaints::{Complaints, say};

/// The pause after a failure: the first one, doubled each time up to the other. Each is cut by chance to a half at least.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a store can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// After so many refused records of a batch, of which none was accepted, it is not they that are to blame.
const TRUST: u32 = 10;
/// A failure that goes on is said again after so long.
const SAID_AGAIN: Duration = Duration::from_secs(600);

/// Sends batches.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    encoding: Arc<Encoding>,
    haste: Arc<Haste>,
    complaints: Complaints,
    /// So many records can be refused before it is not they that are to blame: none, until a request was accepted, and any
    /// number of a batch of which a part was.
    trust: u32,
    failures: u32,
    failing: Option<(String, Instant)>,
}

impl Sender {
    /// Make ready.
    #[must_use]
    pub fn new(client: Client, encoding: Arc<Encoding>, haste: Arc<Haste>) -> Self {
        Self { client, encoding, haste, complaints: Complaints::default(), trust: 0, failures: 0, failing: None }
    }

    /// Send a batch until each record is accepted or rejected; return how many were rejected.
    pub fn deliver(&mut self, body: Body) -> u64 {
        let mut rejected = 0;
        let mut left = vec![body];
        while let Some(body) = left.pop() {
            match self.client.post(&body.gzip) {
                Answer::Accepted(count, reason) => {
                    self.succeeded();
                    if count > 0 {
                        self.reject(&mut rejected, count.min(body.records as u64), "partialSuccess", &reason);
                    }
                }
                Answer::Each(outcomes) if outcomes.len() == body.records => {
                    let again = self.sort_out(&outcomes, &mut rejected);
                    if let Some(why) = again {
                        let later = |number: usize| matches!(outcomes[number], Outcome::Later(_));
                        let rest = body.select(&self.encoding, later);
                        if rest.records < body.records {
                            (self.failures, self.trust) = (0, u32::MAX);
                        }
                        left.push(rest);
                        self.failed(&why, None);
                    } else {
                        self.succeeded();
                    }
                }
                Answer::Each(outcomes) => {
                    let why = format!("it answered for {} of {} records", outcomes.len(), body.records);
                    left.push(body);
                    self.failed(&why, None);
                }
                Answer::Refused(reason) if self.trust > 0 && body.records <= 1 => {
                    self.trust -= 1;
                    self.reject(&mut rejected, 1, reason.split(':').next().unwrap_or_default(), &reason);
                }
                // one of them is to blame, or they are too large together
                Answer::Refused(_) if self.trust > 0 => left.extend(self.halves(&body)),
                // perhaps nothing is wrong with any: until a part is accepted, none is rejected, and all others come first
                Answer::Refused(why) | Answer::Broken(why) => {
                    if body.records > 1 {
                        drop(left.splice(..0, self.halves(&body)));
                    } else {
                        left.insert(0, body);
                    }
                    self.failed(&why, None);
                }
                Answer::Later(why, after) => {
                    left.push(body);
                    self.failed(&why, after);
                }
            }
        }
        self.trust = self.trust.min(TRUST);
        rejected
    }

    /// Return both halves of a body; the first one is the last here, and so is sent first.
    fn halves(&self, body: &Body) -> [Body; 2] {
        let half = body.records / 2;
        [body.select(&self.encoding, |number| number >= half), body.select(&self.encoding, |number| number < half)]
    }

    /// Count what is rejected of a batch; return why some of it has to be sent again.
    fn sort_out(&mut self, outcomes: &[Outcome], rejected: &mut u64) -> Option<String> {
        let mut again = None;
        for outcome in outcomes {
            match outcome {
                Outcome::Stored => {}
                Outcome::Later(why) => again = Some(why.clone()),
                Outcome::Rejected(kind, reason) => self.reject(rejected, 1, kind, &format!("{kind}: {reason}")),
            }
        }
        again
    }

    fn reject(&mut self, rejected: &mut u64, count: u64, kind: &str, reason: &str) {
        *rejected += count;
        let text = format!("{} rejected a record, which is not sent again ({reason})", self.client.address());
        self.complaints.once_of(kind, &text);
    }

    fn succeeded(&mut self) {
        (self.failures, self.trust) = (0, u32::MAX);
        if self.failing.take().is_some() {
            say(&format!("{} takes records again", self.client.address()));
        }
    }

    /// Say what failed, and pause.
    fn failed(&mut self, why: &str, after: Option<Duration>) {
        let known = self.failing.as_ref().is_some_and(|(said, at)| said == why && at.elapsed() < SAID_AGAIN);
        if !known {
            say(&format!("can't send to {}, and tries again: {why}", self.client.address()));
            self.failing = Some((why.to_owned(), Instant::now()));
        }
        let pause = pause_after(self.failures, chance());
        self.failures += 1;
        self.haste.pause(asked_pause(pause, after));
    }
}

/// Return the pause after so many failures before.
fn pause_after(failures: u32, chance: f64) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + chance / 2.0)
}

/// Return the pause that the store asked for, if it did, within bounds.
fn asked_pause(own: Duration, asked: Option<Duration>) -> Duration {
    asked.map_or(own, |asked| asked.clamp(own / 2, LONGEST_ASKED))
}

/// Return a number from 0 to 1 by chance, so that the sidecars of a thousand pods don't try again all at once.
fn chance() -> f64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let mixed = (u64::from(clock) << 20 | u64::from(std::process::id())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_end() {
        assert_eq!(pause_after(0, 0.0), FIRST_PAUSE / 2);
        assert_eq!(pause_after(1, 1.0), 2 * FIRST_PAUSE);
        assert_eq!(pause_after(u32::MAX, 1.0), LONGEST_PAUSE);
        assert!((0.0..=1.0).contains(&chance()));
    }

    #[test]
    fn a_store_asks_for_a_pause_within_bounds() {
        let own = Duration::from_secs(2);
        for (asked, pause) in [(0, 1), (7, 7), (u64::MAX, 300)] {
            assert_eq!(asked_pause(own, Some(Duration::from_secs(asked))), Duration::from_secs(pause));
        }
        assert_eq!(asked_pause(own, None), own);
    }
}
