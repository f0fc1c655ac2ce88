//! Frames off the wire, within bounds of size and time, before anything is known of the peer.
//!
//! The announced length is checked first, memory grows only with what really arrives, and a frame that
//! has begun must end in time (A2, A3).

use std::time::Duration;

use digue_proto::frame::{FrameError, body_length};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

/// Memory taken at once for a frame's body, in bytes.
const STEP: usize = 16 * 1024;

/// Why no further frame comes from a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The peer closed the connection between two frames.
    #[error("closed by the peer")]
    Closed,
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(#[source] std::io::Error),
    /// No frame began in time.
    #[error("nothing was heard for too long")]
    Idle,
    /// A frame began and did not end in time.
    #[error("a frame took too long to arrive")]
    Slow,
    /// Not a frame, or one that is not heard here.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The times that a peer has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until a frame begins.
    pub(crate) idle: Duration,
    /// From its first byte to its last.
    pub(crate) frame: Duration,
}

/// Reads frames. [`FrameReader::next`] may be cancelled and called again without losing a byte.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    header: [u8; 4],
    have: usize,
    length: Option<usize>,
    body: Vec<u8>,
    deadline: Option<Instant>,
    began: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) const fn new(stream: R) -> Self {
        Self { stream, header: [0; 4], have: 0, length: None, body: Vec::new(), deadline: None, began: false }
    }

    /// The body of the next frame: its type byte and its JSON.
    ///
    /// # Errors
    /// [`WireError`]; the connection is then of no further use.
    pub(crate) async fn next(&mut self, limit: usize, patience: Patience) -> Result<Vec<u8>, WireError> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + patience.idle);
        let mut deadline = deadline;
        loop {
            let read = timeout_at(deadline, self.read_some(limit)).await;
            match read {
                Err(_) if self.began => return Err(WireError::Slow),
                Err(_) => return Err(WireError::Idle),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(())) => {}
            }
            if !self.began {
                self.began = true;
                deadline = Instant::now() + patience.frame;
                self.deadline = Some(deadline);
            }
            if self.length == Some(self.body.len()) {
                self.have = 0;
                self.length = None;
                self.deadline = None;
                self.began = false;
                return Ok(std::mem::take(&mut self.body));
            }
        }
    }

    /// One read; cancelling it loses nothing, since what was read is kept in `self`.
    async fn read_some(&mut self, limit: usize) -> Result<(), WireError> {
        let Some(length) = self.length else {
            let room = self.header.get_mut(self.have..).unwrap_or_default();
            let got = self.stream.read(room).await.map_err(WireError::Lost)?;
            if got == 0 {
                return Err(self.ended());
            }
            self.have += got;
            if self.have == self.header.len() {
                self.length = Some(body_length(self.header, limit)?);
            }
            return Ok(());
        };
        let missing = length - self.body.len();
        self.body.reserve(missing.min(STEP));
        let mut room = (&mut self.stream).take(missing as u64);
        match room.read_buf(&mut self.body).await.map_err(WireError::Lost)? {
            0 => Err(self.ended()),
            _ => Ok(()),
        }
    }

    fn ended(&self) -> WireError {
        if self.began { WireError::Lost(std::io::ErrorKind::UnexpectedEof.into()) } else { WireError::Closed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(90), frame: Duration::from_secs(30) };

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short");
        [&length.to_be_bytes(), body].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_arrive_whole_however_they_are_cut() {
        let (mut near, far) = tokio::io::duplex(3);
        let sent = [frame(b"first"), frame(&[7; 40_000])].concat();
        let writer = tokio::spawn(async move { near.write_all(&sent).await });
        let mut reader = FrameReader::new(far);
        assert_eq!(reader.next(100_000, PATIENCE).await.expect("frame"), b"first");
        assert_eq!(reader.next(100_000, PATIENCE).await.expect("frame"), [7; 40_000]);
        writer.await.expect("task").expect("written");
        assert!(matches!(reader.next(100_000, PATIENCE).await, Err(WireError::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a2_an_announced_length_beyond_the_limit_is_cut_before_memory_is_taken() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(&u32::MAX.to_be_bytes()).await.expect("written");
        let mut reader = FrameReader::new(far);
        let refused = reader.next(1 << 20, PATIENCE).await;
        assert!(matches!(refused, Err(WireError::Frame(FrameError::TooLong { .. }))));
        assert_eq!(reader.body.capacity(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a3_a_peer_that_sends_a_byte_a_second_is_dropped_after_the_frame_time() {
        let (mut near, far) = tokio::io::duplex(64);
        let slow = tokio::spawn(async move {
            for byte in frame(&[1; 1000]) {
                if near.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            near
        });
        let began = Instant::now();
        let mut reader = FrameReader::new(far);
        assert!(matches!(reader.next(1 << 20, PATIENCE).await, Err(WireError::Slow)));
        assert!(began.elapsed() <= Duration::from_secs(32), "{:?}", began.elapsed());
        slow.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_dropped_after_the_idle_time() {
        let (_near, far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(far);
        assert!(matches!(reader.next(1 << 20, PATIENCE).await, Err(WireError::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_is_cancelled_loses_no_byte_and_gains_no_time() {
        let (mut near, far) = tokio::io::duplex(64);
        let sent = frame(b"whole");
        near.write_all(&sent[..6]).await.expect("written");
        let mut reader = FrameReader::new(far);
        let cancelled = tokio::time::timeout(Duration::from_secs(1), reader.next(100, PATIENCE)).await;
        assert!(cancelled.is_err());
        near.write_all(&sent[6..]).await.expect("written");
        assert_eq!(reader.next(100, PATIENCE).await.expect("frame"), b"whole");
    }
}
