//! What agents and controllers say to each other: length-delimited frames over TLS 1.3.
//!
//! A frame is a big-endian `u32` (the length of what follows), one byte (the type) and JSON. The courier
//! file is the same frames. Nothing here is trusted: authority is in the signatures inside.

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::id::{Digest, HostId, Nonce};
use crate::limits::MAX_FRAME;
use crate::order::TargetProof;
use crate::strict::{self, StrictError};

/// The ALPN name; it carries the major version of the protocol.
pub const ALPN: &[u8] = b"digue/1";
/// Seconds between two heartbeats, before jitter.
pub const HEARTBEAT_SECONDS: u64 = 30;
/// Seconds without a sign of life after which a host is stale.
pub const STALE_SECONDS: u64 = 90;

/// An order on its way to one host, with everything the host needs to judge it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The signed order.
    pub order: Envelope,
    /// This host's leaf; absent if the order is for all.
    pub target: Option<TargetProof>,
    /// The clean statement that a release relies on.
    pub statement: Option<Envelope>,
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromAgent {
    /// First frame of a connection.
    Hello(Hello),
    /// A signed heartbeat.
    Heartbeat(Envelope),
    /// A signed receipt or report, in the order of the chain.
    Document(Envelope),
    /// A request to enter the inventory.
    Enrol(Envelope),
}

/// What a controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromController {
    /// Answer to the hello.
    Welcome(Welcome),
    /// Trust roots after the one that the agent holds, in order.
    Roots(Vec<Envelope>),
    /// An order.
    Deliver(Box<Delivery>),
    /// The document with this digest is on disk; the agent may forget it.
    Stored(Digest),
}

/// The first frame of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`crate::trust::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Who it says it is; the controller goes by the key alone (D5).
    pub host_id: HostId,
    /// The trust root that it holds; 0 if none.
    pub root_version: u64,
    /// Whether this connection only proves that one can be made (4.5 d) and brings nothing else.
    pub probe: bool,
}

/// The first frame of a controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// [`crate::trust::PROTOCOL_VERSION`].
    pub protocol: u32,
    /// Drawn for this connection; heartbeats repeat it.
    pub nonce: Nonce,
    /// Whether the agent's key is in the inventory. If not, only an enrolment request is heard.
    pub enrolled: bool,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length breaks the limit.
    #[error("a frame of {length} bytes was announced, the limit is {limit}")]
    TooLong {
        /// Announced length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No type byte.
    #[error("an empty frame")]
    Empty,
    /// A type that this side never hears.
    #[error("frame type {0} is unknown here")]
    UnknownType(u8),
    /// The JSON is not what the type asks for.
    #[error("frame type {0}: {1}")]
    Body(u8, StrictError),
}

/// Reads the length that starts a frame.
///
/// # Errors
/// [`FrameError`] before anything is allocated.
pub const fn body_length(header: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    if length == 0 { Err(FrameError::Empty) } else { Ok(length) }
}

fn encode<T: Serialize>(kind: u8, value: &T) -> Result<Vec<u8>, FrameError> {
    let body = strict::to_vec(value).map_err(|e| FrameError::Body(kind, e))?;
    let length = body.len() + 1;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong { length, limit: MAX_FRAME });
    }
    let mut frame = Vec::with_capacity(length + 4);
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    frame.push(kind);
    frame.extend(body);
    Ok(frame)
}

fn decode<T: serde::de::DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, FrameError> {
    strict::from_slice(body, MAX_FRAME).map_err(|e| FrameError::Body(kind, e))
}

fn envelope(kind: u8, body: &[u8]) -> Result<Envelope, FrameError> {
    Envelope::from_json(body).map_err(|e| FrameError::Body(kind, e))
}

impl FromAgent {
    /// The frame with its length.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if it would be refused.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Hello(hello) => encode(1, hello),
            Self::Heartbeat(envelope) => encode(2, envelope),
            Self::Document(envelope) => encode(3, envelope),
            Self::Enrol(envelope) => encode(4, envelope),
        }
    }

    /// Reads what follows the length.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then closed.
    pub fn decode(body: &[u8]) -> Result<Self, FrameError> {
        match body.split_first() {
            None => Err(FrameError::Empty),
            Some((1, rest)) => decode(1, rest).map(Self::Hello),
            Some((2, rest)) => envelope(2, rest).map(Self::Heartbeat),
            Some((3, rest)) => envelope(3, rest).map(Self::Document),
            Some((4, rest)) => envelope(4, rest).map(Self::Enrol),
            Some((kind, _)) => Err(FrameError::UnknownType(*kind)),
        }
    }
}

impl FromController {
    /// The frame with its length.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if it would be refused.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Welcome(welcome) => encode(65, welcome),
            Self::Roots(roots) => encode(66, roots),
            Self::Deliver(delivery) => encode(67, delivery),
            Self::Stored(digest) => encode(68, digest),
        }
    }

    /// Reads what follows the length.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then closed.
    pub fn decode(body: &[u8]) -> Result<Self, FrameError> {
        match body.split_first() {
            None => Err(FrameError::Empty),
            Some((65, rest)) => decode(65, rest).map(Self::Welcome),
            Some((66, rest)) => {
                let roots: Vec<Envelope> = decode(66, rest)?;
                roots.iter().try_for_each(Envelope::check_bounds).map_err(|e| FrameError::Body(66, e))?;
                Ok(Self::Roots(roots))
            }
            Some((67, rest)) => {
                let delivery: Box<Delivery> = decode(67, rest)?;
                delivery.check_bounds().map_err(|e| FrameError::Body(67, e))?;
                Ok(Self::Deliver(delivery))
            }
            Some((68, rest)) => decode(68, rest).map(Self::Stored),
            Some((kind, _)) => Err(FrameError::UnknownType(*kind)),
        }
    }
}

impl Delivery {
    /// Checks the bounds of the envelopes inside.
    ///
    /// # Errors
    /// [`StrictError`] naming the bound that is broken.
    pub fn check_bounds(&self) -> Result<(), StrictError> {
        self.order.check_bounds()?;
        self.statement.as_ref().map_or(Ok(()), Envelope::check_bounds)
    }
}
