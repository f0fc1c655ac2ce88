//! One thread writes; whatever waits when it is free becomes one transaction (group commit).
//!
//! Nobody is told that something is kept before the disk has confirmed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{Appended, Record, Store, StoreError, StoreFault};

/// Requests that may wait; more have to wait for room.
const QUEUE: usize = 4096;
/// Most requests in one transaction.
const GROUP: usize = 1024;

type Answer = Result<Vec<Appended>, StoreError>;

struct Job {
    records: Vec<Record>,
    answer: oneshot::Sender<Answer>,
}

/// The way to the writing thread.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    healthy: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the writing thread. It ends, with everything written, when the last [`Writer`] is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(store: Box<dyn Store>) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let healthy = Arc::new(AtomicBool::new(true));
        let writer = Self { queue, healthy: healthy.clone() };
        let run = move || write_until_closed(store, jobs, &healthy);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(run)?;
        Ok((writer, thread))
    }

    /// Makes the records durable together.
    ///
    /// # Errors
    /// [`StoreError`] if none of them was kept.
    pub(crate) async fn append(&self, records: Vec<Record>) -> Answer {
        let (answer, done) = oneshot::channel();
        let stopped = || StoreError {
            operation: "writing to the database",
            path: std::path::PathBuf::new(),
            cause: Arc::new(StoreFault::Stopped),
        };
        self.queue.send(Job { records, answer }).await.map_err(|_| stopped())?;
        done.await.map_err(|_| stopped())?
    }

    /// Whether the last attempt to write succeeded.
    pub(crate) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

fn write_until_closed(mut store: Box<dyn Store>, mut jobs: mpsc::Receiver<Job>, healthy: &AtomicBool) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        write_group(store.as_mut(), group, healthy);
    }
}

fn write_group(store: &mut dyn Store, group: Vec<Job>, healthy: &AtomicBool) {
    let all: Vec<&Record> = group.iter().flat_map(|job| &job.records).collect();
    let written = store.append(&all);
    drop(all);
    healthy.store(written.is_ok(), Ordering::Relaxed);
    match written {
        Ok(done) => {
            let mut done = done.into_iter();
            for job in group {
                let mine = done.by_ref().take(job.records.len()).collect();
                // Whoever asked may be gone; the records are kept all the same.
                let _gone = job.answer.send(Ok(mine));
            }
        }
        Err(error) if group.len() == 1 => {
            tracing::error!(%error, "nothing was stored");
            for job in group {
                let _gone = job.answer.send(Err(error.clone()));
            }
        }
        // One request must not fail because of another.
        Err(_) => group.into_iter().for_each(|job| write_group(store, vec![job], healthy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{PendingEnrolment, StoredEnvelope};
    use digue_proto::id::{Digest, UnixMillis};

    /// Refuses groups that hold a withdrawal; remembers how large the groups were.
    #[derive(Default)]
    struct Picky(Arc<std::sync::Mutex<Vec<usize>>>);

    impl Store for Picky {
        fn append(&mut self, records: &[&Record]) -> Answer {
            if records.iter().any(|r| matches!(r, Record::Cancelled { .. })) {
                let cause = Arc::new(StoreFault::Contents("picky".to_owned()));
                return Err(StoreError { operation: "test", path: "test".into(), cause });
            }
            self.0.lock().expect("lock").push(records.len());
            Ok(records.iter().map(|_| Appended { new: true }).collect())
        }
        fn envelopes(&mut self, _: u64, _: usize, _: usize) -> Result<Vec<StoredEnvelope>, StoreError> {
            Ok(Vec::new())
        }
        fn receipts_of(&mut self, _: Digest) -> Result<Vec<StoredEnvelope>, StoreError> {
            Ok(Vec::new())
        }
        fn cancelled(&mut self) -> Result<Vec<Digest>, StoreError> {
            Ok(Vec::new())
        }
        fn enrolments(&mut self) -> Result<Vec<PendingEnrolment>, StoreError> {
            Ok(Vec::new())
        }
        fn rebuild(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    fn job(record: Record) -> (Job, oneshot::Receiver<Answer>) {
        let (answer, done) = oneshot::channel();
        (Job { records: vec![record.clone(), record], answer }, done)
    }

    #[test]
    fn waiting_requests_share_a_transaction_and_a_bad_one_fails_alone() {
        let sizes = Arc::default();
        let mut store = Picky(Arc::clone(&sizes));
        let bad = Record::Cancelled { order: Digest::of(b"x"), at: UnixMillis(0) };
        let (jobs, answers): (Vec<_>, Vec<_>) =
            [Record::Probe(UnixMillis(1)), bad, Record::Probe(UnixMillis(2))].into_iter().map(job).unzip();
        let healthy = AtomicBool::new(true);
        write_group(&mut store, jobs, &healthy);
        let results: Vec<bool> =
            answers.into_iter().map(|mut a| a.try_recv().expect("answered").is_ok()).collect();
        assert_eq!(results, [true, false, true]);
        let (jobs, _answers): (Vec<_>, Vec<_>) =
            [Record::Probe(UnixMillis(1)), Record::Probe(UnixMillis(2))].into_iter().map(job).unzip();
        write_group(&mut store, jobs, &healthy);
        assert_eq!(*sizes.lock().expect("lock"), [2, 2, 4]);
        assert!(healthy.load(Ordering::Relaxed));
    }
}
