//! Bounds that are checked before anything is allocated or parsed.
//!
//! Every value is a hard limit: input beyond it is refused, never truncated.

/// Largest signed payload, in bytes (3.6.2 step 1 of the trust design); inventories excepted.
pub const MAX_PAYLOAD: usize = 256 * 1024;
/// Largest payload of an inventory, in bytes: [`MAX_HOSTS`] servers with their labels. Agents never
/// receive one.
pub const MAX_INVENTORY: usize = 8 * 1024 * 1024;
/// Largest payload of a host's report, in bytes: it repeats a policy and a block list, which two orders
/// brought.
pub const MAX_REPORT: usize = 2 * MAX_PAYLOAD;
/// Longest line that a host writes into a document about something that it was given or saw, in bytes.
/// Anyone may make it write one; longer ones are shortened.
pub const MAX_DETAIL: usize = 400;
/// Largest envelope as JSON, in bytes: an inventory in base64 plus sixteen signatures.
pub const MAX_ENVELOPE: usize = 12 * 1024 * 1024;
/// Largest frame on the wire, in bytes, once the peer is authorised.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Largest frame from a peer whose key is not (yet) in the inventory, in bytes.
pub const MAX_FRAME_UNAUTHORISED: usize = 256 * 1024;
/// Most signatures considered in one envelope.
pub const MAX_SIGNATURES: usize = 16;
/// Longest armoured signature, in bytes.
pub const MAX_SIGNATURE_ARMOUR: usize = 4 * 1024;
/// Most root updates applied in one session (TUF 5.3).
pub const MAX_ROOT_STEPS: usize = 1024;
/// Most hosts in one signed inventory or one frozen target list.
pub const MAX_HOSTS: usize = 20_000;
/// Largest forward jump of a generation or version number that is accepted.
///
/// A stolen threshold that signs `u64::MAX` would otherwise leave no number to use after it.
pub const MAX_GENERATION_JUMP: u64 = 1 << 20;
/// Most entries in one list of a policy (networks, exceptions, blocked addresses, controllers).
pub const MAX_POLICY_LIST: usize = 1024;
/// Longest free text (reason, incident name), in bytes.
pub const MAX_TEXT: usize = 2_000;
/// Deepest nesting of a signed JSON document.
pub const MAX_JSON_DEPTH: usize = 16;
