//! Trust root updates: one version at a time, on disk before use (TUF 5.3).

use super::{Effect, Host, Now, note};
use crate::envelope::Envelope;
use crate::limits::MAX_ROOT_STEPS;
use crate::trust::RootV1;
use crate::verify;

impl Host {
    pub(super) fn roots(&mut self, roots: Vec<Envelope>, now: &Now, effects: &mut Vec<Effect>) {
        let before = self.trust.version();
        for envelope in roots.into_iter().take(MAX_ROOT_STEPS) {
            // A relay may repeat what is held already; that is no error.
            if verify::payload::<RootV1>(&envelope).is_ok_and(|root| root.version <= self.trust.version()) {
                continue;
            }
            match self.trust.next(&envelope) {
                Ok(next) => {
                    effects.push(Effect::PersistRoot(Box::new(envelope)));
                    self.raise_time_floor(next.root().issued_at_ms, now);
                    self.state.root_version = self.state.root_version.max(next.version());
                    self.trust = next;
                }
                Err(error) => {
                    let detail = format!("{}: {error}", error.code());
                    self.state.raise_alarm("root_refused", &detail, now.wall());
                    effects.push(note("root_refused", detail));
                    break;
                }
            }
        }
        if self.trust.version() == before {
            return;
        }
        effects.push(note("root_accepted", format!("trust root {} is in force", self.trust.version())));
        self.report(now);
        self.persist();
        self.send_from(self.sent_through, effects);
        for delivery in std::mem::take(&mut self.parked) {
            self.deliver(delivery, now, effects);
        }
    }
}
