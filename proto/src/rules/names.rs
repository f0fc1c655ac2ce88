//! Names of our tables: random at every load, so that nobody can claim them first.

use serde::{Deserialize, Serialize};

/// Which of the two copies a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Bound to the agent's netlink socket: nobody else can change it, and it vanishes with the socket.
    Owned,
    /// Bound to nothing: anyone with the rights can remove it, and it outlives the agent.
    Plain,
}

impl Role {
    /// The value as it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Plain => "plain",
        }
    }
}

/// The names of one load: `digue_` and eight hexadecimal digits.
///
/// The last bit of the number tells the role, so that an agent that restarts knows its tables again on
/// kernels that keep neither owners nor table comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableNames {
    /// Name of the owned tables.
    pub owned: String,
    /// Name of the plain tables.
    pub plain: String,
}

const PREFIX: &str = "digue_";

impl TableNames {
    /// Names made of eight random bytes, which the caller draws.
    pub fn from_entropy(random: [u8; 8]) -> Self {
        let number = u64::from_be_bytes(random);
        let owned = (number >> 32) & 0xffff_fffe;
        let plain = (number & 0xffff_ffff) | 1;
        Self { owned: format!("{PREFIX}{owned:08x}"), plain: format!("{PREFIX}{plain:08x}") }
    }

    /// The name for a role.
    pub fn of(&self, role: Role) -> &str {
        match role {
            Role::Owned => &self.owned,
            Role::Plain => &self.plain,
        }
    }
}

/// The role that a table's name tells; `None` if the name is not one of ours.
pub(super) fn role_of(name: &str) -> Option<Role> {
    let digits = name.strip_prefix(PREFIX)?;
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != 8 || !digits.bytes().all(lower_hex) {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some(if number & 1 == 0 { Role::Owned } else { Role::Plain })
}
