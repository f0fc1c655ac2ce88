//! From an order to the frames of its hosts.
//!
//! The order itself is written out once; each host's frame is those bytes and its own leaf, path and
//! statement. Nothing is evaluated: the signed target list decides.

use bytes::Bytes;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::{OrderEntry, Parts};
use digue_proto::frame::{FrameError, FromController};
use digue_proto::id::{Digest, HostId};
use digue_proto::limits::MAX_FRAME;
use digue_proto::order::TargetProof;
use digue_proto::strict::{self, StrictError};

/// The type byte of a delivery; see [`FromController::encode`].
const DELIVER: u8 = 67;
/// Room that a frame of roots leaves for its own punctuation, in bytes.
const MARGIN: usize = 1024;

/// Writes the deliveries of one order.
pub(crate) struct Deliveries<'a> {
    entry: &'a OrderEntry,
    order: String,
}

impl<'a> Deliveries<'a> {
    /// Writes the order out.
    ///
    /// # Errors
    /// Never in practice, see [`strict::to_vec`].
    pub(crate) fn of(entry: &'a OrderEntry) -> Result<Self, StrictError> {
        Ok(Self { entry, order: json(&entry.bundle.order)? })
    }

    /// The frame for one host; `None` if the order is not for it.
    ///
    /// # Errors
    /// [`FrameError`] if it would be longer than a frame may be.
    pub(crate) fn frame(&self, host: &HostId) -> Result<Option<Bytes>, FrameError> {
        let Some(Parts { target, statement, .. }) = self.entry.parts(host) else { return Ok(None) };
        let target = target.map(|(leaf, proof)| TargetProof { leaf: leaf.to_vec(), proof: proof.clone() });
        let body = |e| FrameError::Body(DELIVER, e);
        let target = json(&target).map_err(body)?;
        let statement = json(&statement).map_err(body)?;
        let parts =
            [r#"{"order":"#, &self.order, r#","target":"#, &target, r#","statement":"#, &statement, "}"];
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let too_long = FrameError::TooLong { length, limit: MAX_FRAME };
        let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(too_long)?;
        let mut frame = Vec::with_capacity(length + 4);
        frame.extend(header.to_be_bytes());
        frame.push(DELIVER);
        parts.iter().for_each(|part| frame.extend(part.as_bytes()));
        Ok(Some(frame.into()))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StrictError> {
    let bytes = strict::to_vec(value)?;
    String::from_utf8(bytes).map_err(|e| StrictError::Json(e.to_string()))
}

/// The roots in as few frames as hold them.
///
/// # Errors
/// [`FrameError`] if one root alone is longer than a frame.
pub(crate) fn root_frames(roots: &[Envelope]) -> Result<Vec<Bytes>, FrameError> {
    let mut groups: Vec<Vec<Envelope>> = Vec::new();
    let mut room = 0;
    for root in roots {
        let size = root.to_json().map_err(|e| FrameError::Body(66, e))?.len() + 1;
        match groups.last_mut() {
            Some(group) if size <= room => group.push(root.clone()),
            _ => {
                groups.push(vec![root.clone()]);
                room = MAX_FRAME - MARGIN;
            }
        }
        room = room.saturating_sub(size);
    }
    groups.into_iter().map(|group| FromController::Roots(group).encode().map(Bytes::from)).collect()
}

/// The frame that tells an agent that a document is on disk.
///
/// # Errors
/// Never in practice.
pub(crate) fn stored_frame(digest: Digest) -> Result<Bytes, FrameError> {
    FromController::Stored(digest).encode().map(Bytes::from)
}
