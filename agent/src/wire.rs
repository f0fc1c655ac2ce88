//! Frames on a byte stream: the length is checked before anything is allocated, and a frame that has
//! begun must end within a bound.

use std::io;
use std::time::Duration;

use digue_proto::frame::{self, FrameError, FromController};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long a frame may take from its first byte to its last, in either direction (A3).
pub const FRAME_TIME: Duration = Duration::from_secs(30);

/// Why a stream of frames ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer closed between two frames.
    #[error("the controller closed the connection")]
    Closed,
    /// The stream failed.
    #[error("{0} a frame")]
    Stream(&'static str, #[source] io::Error),
    /// A frame took too long.
    #[error("a frame was not {0} within {time} seconds", time = FRAME_TIME.as_secs())]
    Slow(&'static str),
    /// Not a frame of the protocol.
    #[error("a frame that is not acceptable")]
    Frame(#[source] FrameError),
}

/// Reads one frame of at most `limit` bytes. Waits without end for its first byte.
///
/// # Errors
/// [`WireError`]; the connection is then to be closed.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R, limit: usize) -> Result<FromController, WireError> {
    let mut first = [0];
    match stream.read(&mut first).await {
        Ok(0) => return Err(WireError::Closed),
        Ok(_) => {}
        Err(e) => return Err(WireError::Stream("reading", e)),
    }
    let read = async {
        let mut rest = [0; 3];
        stream.read_exact(&mut rest).await.map_err(|e| WireError::Stream("reading", e))?;
        let ([a], [b, c, d]) = (first, rest);
        let length = frame::body_length([a, b, c, d], limit).map_err(WireError::Frame)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.map_err(|e| WireError::Stream("reading", e))?;
        Ok(body)
    };
    let body = timeout(FRAME_TIME, read).await.map_err(|_| WireError::Slow("received"))??;
    FromController::decode(&body).map_err(WireError::Frame)
}

/// Writes one encoded frame and flushes it.
///
/// # Errors
/// [`WireError`]; the connection is then to be closed.
pub async fn write<W: AsyncWrite + Unpin>(stream: &mut W, frame: &[u8]) -> Result<(), WireError> {
    let write = async {
        stream.write_all(frame).await?;
        stream.flush().await
    };
    let written = timeout(FRAME_TIME, write).await.map_err(|_| WireError::Slow("taken"))?;
    written.map_err(|e| WireError::Stream("writing", e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use digue_proto::limits::{MAX_FRAME, MAX_FRAME_UNAUTHORISED};

    async fn read_bytes(bytes: &[u8], limit: usize) -> Result<FromController, WireError> {
        read(&mut &*bytes, limit).await
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
        for (length, limit) in
            [(MAX_FRAME_UNAUTHORISED + 1, MAX_FRAME_UNAUTHORISED), (MAX_FRAME + 1, MAX_FRAME)]
        {
            let header = u32::try_from(length).expect("fits").to_be_bytes();
            let error = read_bytes(&header, limit).await.expect_err("too long");
            assert!(matches!(error, WireError::Frame(FrameError::TooLong { .. })), "{error:?}");
        }
    }

    #[tokio::test]
    async fn unknown_types_of_the_agents_own_side_and_empty_frames_are_refused() {
        for kind in [0u8, 1, 2, 3, 4, 69, 255] {
            let bytes = [0, 0, 0, 3, kind, b'{', b'}'];
            let error = read_bytes(&bytes, MAX_FRAME).await.expect_err("unknown");
            assert!(matches!(error, WireError::Frame(FrameError::UnknownType(_))), "{kind}: {error:?}");
        }
        let error = read_bytes(&[0, 0, 0, 0], MAX_FRAME).await.expect_err("empty");
        assert!(matches!(error, WireError::Frame(FrameError::Empty)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_trickles_in_is_given_up_and_waiting_for_a_first_byte_is_not() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let reader = tokio::spawn(async move { read(&mut near, MAX_FRAME).await.map_err(|e| e.to_string()) });
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(!reader.is_finished(), "an idle connection was closed");
        far.write_all(&[0, 0]).await.expect("two bytes");
        let error = reader.await.expect("joined").expect_err("slow");
        assert!(error.contains("within 30 seconds"), "{error}");
    }
}
