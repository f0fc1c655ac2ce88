//! One host's chain of receipts and reports: which numbers arrived, which are missing, and whether two
//! different documents claim one place (a cloned key, or a machine restored from an old image; D10).
//!
//! Deliberately absent: the documents. They are kept by whoever stores envelopes.

use std::collections::BTreeMap;

use crate::id::{Digest, UnixMillis};

/// Digests remembered to recognise a fork. Older numbers are only counted.
const REMEMBERED: usize = 256;
/// Most separate stretches kept; beyond it the oldest gaps are merged into one larger gap.
const MAX_STRETCHES: usize = 256;

/// Where a document falls in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind everything known so far.
    Newest,
    /// Into a gap: it was lost on the way and came later.
    Gap,
    /// Known already.
    Repeat,
    /// Another document stands at that number, or before it, than the one this one names.
    Fork,
}

/// Consecutive numbers that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    first: u64,
    last: u64,
    /// When `first` arrived, and with it the gap before it was noticed.
    noticed: UnixMillis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    digest: Digest,
    prev: Option<Digest>,
}

/// What is known of one host's chain.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    stretches: Vec<Stretch>,
    recent: BTreeMap<u64, Link>,
    forked: Option<(u64, UnixMillis)>,
}

impl Chain {
    /// The highest number that arrived; 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        self.stretches.last().map_or(0, |s| s.last)
    }

    /// The document at a number, if it is recent enough to be remembered.
    pub(super) fn digest_at(&self, seq: u64) -> Option<Digest> {
        self.recent.get(&seq).map(|link| link.digest)
    }

    /// The first fork seen and when, for as long as this incarnation lasts.
    pub(super) const fn forked(&self) -> Option<(u64, UnixMillis)> {
        self.forked
    }

    /// Records that two histories of this host exist.
    pub(super) fn note_fork(&mut self, seq: u64, at: UnixMillis) {
        self.forked.get_or_insert((seq, at));
    }

    /// Takes a document into the chain. Number 0 does not exist and is a fork.
    pub(super) fn take(&mut self, seq: u64, digest: Digest, prev: Option<Digest>, at: UnixMillis) -> Place {
        let place = self.place(seq, digest, prev);
        match place {
            Place::Fork => self.note_fork(seq, at),
            Place::Newest | Place::Gap => {
                self.count(seq, at);
                self.recent.insert(seq, Link { digest, prev });
                while self.recent.len() > REMEMBERED {
                    self.recent.pop_first();
                }
            }
            Place::Repeat => {}
        }
        place
    }

    fn place(&self, seq: u64, digest: Digest, prev: Option<Digest>) -> Place {
        if let Some(known) = self.recent.get(&seq) {
            return if known.digest == digest { Place::Repeat } else { Place::Fork };
        }
        let before = seq.checked_sub(1);
        let breaks_before = before.and_then(|n| self.recent.get(&n)).is_some_and(|b| prev != Some(b.digest));
        let breaks_after = self.recent.get(&seq.saturating_add(1)).is_some_and(|a| a.prev != Some(digest));
        let breaks_start = (seq == 1) != prev.is_none();
        if seq == 0 || breaks_before || breaks_after || breaks_start {
            return Place::Fork;
        }
        if self.stretches.iter().any(|s| (s.first..=s.last).contains(&seq)) {
            return Place::Repeat;
        }
        if seq > self.newest() { Place::Newest } else { Place::Gap }
    }

    fn count(&mut self, seq: u64, at: UnixMillis) {
        let index = self.stretches.partition_point(|s| s.first < seq);
        self.stretches.insert(index, Stretch { first: seq, last: seq, noticed: at });
        let mut joined: Vec<Stretch> = Vec::with_capacity(self.stretches.len());
        for stretch in self.stretches.drain(..) {
            match joined.last_mut() {
                Some(before) if before.last.saturating_add(1) == stretch.first => before.last = stretch.last,
                _ => joined.push(stretch),
            }
        }
        let too_many = joined.len().saturating_sub(MAX_STRETCHES);
        joined.drain(..too_many);
        self.stretches = joined;
    }

    /// The holes, as `first-last`.
    pub(super) fn gaps(&self) -> Vec<String> {
        self.holes().map(|(first, last, _)| format!("{first}-{last}")).collect()
    }

    /// The first hole that was noticed after `since` and is still open.
    pub(super) fn gap_after(&self, since: UnixMillis) -> Option<(u64, u64)> {
        self.holes().find(|(.., noticed)| *noticed > since).map(|(first, last, _)| (first, last))
    }

    fn holes(&self) -> impl Iterator<Item = (u64, u64, UnixMillis)> {
        let before = std::iter::once(0).chain(self.stretches.iter().map(|s| s.last));
        let pairs = before.zip(&self.stretches);
        pairs
            .map(|(last, next)| (last.saturating_add(1), next.first.saturating_sub(1), next.noticed))
            .filter(|(first, last, _)| first <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(5);

    fn digest(n: u64) -> Digest {
        Digest::of(&n.to_be_bytes())
    }
    fn take(chain: &mut Chain, seq: u64) -> Place {
        let prev = (seq > 1).then(|| digest(seq - 1));
        chain.take(seq, digest(seq), prev, NOW)
    }

    #[test]
    fn a_missing_number_is_a_gap_until_it_arrives() {
        let mut chain = Chain::default();
        for seq in [1, 2, 5, 9] {
            assert_eq!(take(&mut chain, seq), Place::Newest);
        }
        assert_eq!(chain.gaps(), ["3-4", "6-8"]);
        assert_eq!(take(&mut chain, 3), Place::Gap);
        assert_eq!(take(&mut chain, 4), Place::Gap);
        assert_eq!(chain.gaps(), ["6-8"]);
        assert_eq!(chain.gap_after(UnixMillis(4)), Some((6, 8)));
        assert_eq!(chain.gap_after(NOW), None);
        assert_eq!(take(&mut chain, 4), Place::Repeat);
        assert_eq!(chain.newest(), 9);
    }

    #[test]
    fn documents_missing_before_the_first_that_arrived_are_a_gap_too() {
        let mut chain = Chain::default();
        assert_eq!(take(&mut chain, 4), Place::Newest);
        assert_eq!(chain.gaps(), ["1-3"]);
    }

    #[test]
    fn two_documents_with_one_number_are_a_fork() {
        let mut chain = Chain::default();
        take(&mut chain, 1);
        take(&mut chain, 2);
        assert_eq!(chain.take(2, digest(77), Some(digest(1)), NOW), Place::Fork);
        assert_eq!(chain.forked(), Some((2, NOW)));
        assert_eq!(chain.newest(), 2);
    }

    #[test]
    fn a_document_that_names_another_predecessor_is_a_fork() {
        let mut chain = Chain::default();
        take(&mut chain, 1);
        assert_eq!(chain.take(2, digest(2), Some(digest(66)), NOW), Place::Fork);
        assert_eq!(chain.take(0, digest(0), None, NOW), Place::Fork);
        assert_eq!(chain.take(1 << 40, digest(3), None, NOW), Place::Fork);
    }

    #[test]
    fn a_host_that_numbers_at_random_takes_bounded_memory() {
        let mut chain = Chain::default();
        for seq in (2..40_000).step_by(2) {
            chain.take(seq, digest(seq), Some(digest(seq - 1)), NOW);
        }
        assert!(chain.stretches.len() <= MAX_STRETCHES && chain.recent.len() <= REMEMBERED);
        assert_eq!(chain.newest(), 39_998);
    }
}
