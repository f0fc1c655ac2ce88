//! The order of the steps, and what they know of each other.

use anyhow::{Context, Result};

use super::stage::{Ran, Stage, environment};
use super::teller::{Teller, both};
use super::{cutting, reopening};

/// What the story could not show, though every step that it could was verified.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) skipped: Vec<String>,
}

/// The story so far.
pub(super) struct Story<'a> {
    pub(super) teller: &'a mut Teller,
    pub(super) stage: &'a Stage,
    /// Whether `nft` can be used to attack and to look.
    pub(super) nft: bool,
    /// The administrator's own rules on one server, as `nft` printed them before the incident.
    pub(super) own_rules: Option<String>,
    /// From this moment on nothing may reach the "internet"; in milliseconds since 1970.
    pub(super) cut_at_ms: u64,
    /// What the "internet" had received when all were cut, in packets.
    pub(super) packets_at_cut: u64,
    skipped: Vec<String>,
}

/// Tells the whole story, pausing before each step.
///
/// # Errors
/// The first thing that was not measured as it must be.
pub(super) fn tell(
    teller: &mut Teller,
    stage: &Stage,
    pause: &mut dyn FnMut() -> Result<()>,
) -> Result<Outcome> {
    let mut story = Story {
        teller,
        stage,
        nft: false,
        own_rules: None,
        cut_at_ms: 0,
        packets_at_cut: 0,
        skipped: Vec::new(),
    };
    let steps: [fn(&mut Story<'_>) -> Result<()>; 10] = [
        cutting::servers_are_up,
        cutting::an_intrusion_begins,
        cutting::an_operator_plans_a_cut,
        cutting::the_cut_is_signed_and_verified,
        cutting::nothing_reaches_the_attacker,
        cutting::a_flushed_firewall_stays_cut,
        reopening::the_victim_is_isolated,
        reopening::one_person_cannot_reopen,
        reopening::two_people_reopen,
        reopening::stock_tools_verify_everything,
    ];
    for step in steps {
        pause()?;
        step(&mut story)?;
    }
    Ok(Outcome { skipped: story.skipped })
}

impl Story<'_> {
    /// What a shell needs to type the commands that follow.
    pub(super) fn show_environment(&self) {
        let programs = self.stage.programs();
        environment(programs, self.stage.place()).iter().for_each(|line| self.teller.command(line));
    }

    /// Prints a command, runs it, and fails unless it ends with `code`.
    pub(super) fn run(&self, words: &[&str], code: i32) -> Result<Ran> {
        let ran = self.stage.show(self.teller, words)?;
        ran.must_end_with(code).with_context(|| super::stage::shell_line(words))
    }

    /// Prints and keeps what cannot be shown on this machine.
    pub(super) fn skip(&mut self, why: String) {
        self.teller.skipped(&why);
        self.skipped.push(why);
    }

    /// What arrived at the "internet" since the cut, as far as `concerns` says.
    pub(super) fn arrived_since_cut(
        &self,
        concerns: impl Fn(&crate::service::Arrival) -> bool,
    ) -> Result<usize> {
        let arrivals = super::evidence::arrivals(self.stage)?;
        Ok(arrivals.iter().filter(|one| one.at_ms > self.cut_at_ms && concerns(one)).count())
    }

    /// What has reached the "internet" since the cut: the packets that its kernel counted, and no fewer than
    /// what its services wrote down.
    pub(super) fn packets_since_cut(&self) -> Result<u64> {
        let counted = super::evidence::packets_outside(self.stage)?.saturating_sub(self.packets_at_cut);
        Ok(counted.max(self.arrived_since_cut(|_| true)? as u64))
    }

    /// The text in the teller's language that `nft` is missing.
    pub(super) fn nft_is_missing(&self) -> String {
        both!(
            self.teller,
            "attacks on the firewall need nft, which is not installed (Debian: apt install nftables)",
            "les attaques contre le pare-feu demandent nft, qui n'est pas installé (Debian : apt install nftables)"
        )
    }
}
