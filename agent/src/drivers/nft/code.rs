//! Numbers of the kernel's nf_tables interface (`linux/netfilter/nf_tables.h`): those that we use.

use digue_proto::rules::{ChainKind, Family, HookPoint, Verdict};

const SUBSYSTEM: u16 = 10;

/// The full type of a message.
pub(super) const fn message(kind: u16) -> u16 {
    SUBSYSTEM << 8 | kind
}

pub(super) const NEWTABLE: u16 = 0;
pub(super) const GETTABLE: u16 = 1;
pub(super) const DELTABLE: u16 = 2;
pub(super) const NEWCHAIN: u16 = 3;
pub(super) const GETCHAIN: u16 = 4;
pub(super) const NEWRULE: u16 = 6;
pub(super) const GETRULE: u16 = 7;
pub(super) const NEWSET: u16 = 9;
pub(super) const GETSET: u16 = 10;
pub(super) const NEWSETELEM: u16 = 12;
pub(super) const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;
pub(super) const NEWGEN: u16 = 15;
pub(super) const GETGEN: u16 = 16;

pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
pub(super) const ACK: u16 = 0x4;
/// `NLM_F_CREATE | NLM_F_EXCL`.
pub(super) const NEW: u16 = 0x400 | 0x200;
/// `NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub(super) const APPEND: u16 = 0x800;

/// Attributes of tables.
pub(super) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const USE: u16 = 3;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const OWNER: u16 = 7;
    pub(crate) const DORMANT: u32 = 1;
    pub(crate) const OWNED: u32 = 2;
}

/// Attributes of chains.
pub(super) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const FLAGS: u16 = 10;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const HOOK_DEVICE: u16 = 3;
    pub(crate) const HOOK_DEVICES: u16 = 4;
    pub(crate) const DEVICE_NAME: u16 = 1;
    pub(crate) const BASE: u32 = 1;
}

/// Attributes of rules.
pub(super) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const USERDATA: u16 = 7;
    pub(crate) const LIST_ELEMENT: u16 = 1;
    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
}

/// Attributes of sets and their elements.
pub(super) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const SIZE: u16 = 1;

    pub(crate) const CONSTANT: u32 = 2;
    pub(crate) const INTERVAL: u32 = 4;
    pub(crate) const TIMEOUT: u32 = 0x10;

    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const LIST_ELEMENT: u16 = 1;
    pub(crate) const ELEMENT_KEY: u16 = 1;
    pub(crate) const ELEMENT_FLAGS: u16 = 3;
    pub(crate) const ELEMENT_TIMEOUT: u16 = 4;
    pub(crate) const ELEMENT_EXPIRATION: u16 = 5;
    pub(crate) const ELEMENT_USERDATA: u16 = 6;
    pub(crate) const ELEMENT_PAD: u16 = 8;
    pub(crate) const INTERVAL_END: u32 = 1;
    pub(crate) const DATA_VALUE: u16 = 1;
}

/// Attributes of generation messages.
pub(super) mod generation {
    pub(crate) const ID: u16 = 1;
    pub(crate) const PROCESS: u16 = 2;
    pub(crate) const PROGRAM: u16 = 3;
}

/// The kernel's number for a family.
pub(super) const fn family(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Netdev => 5,
        Family::Bridge => 7,
    }
}

/// The family of a number, if our tables can be of it.
pub(super) const fn family_of(number: u8) -> Option<Family> {
    match number {
        1 => Some(Family::Inet),
        5 => Some(Family::Netdev),
        7 => Some(Family::Bridge),
        _ => None,
    }
}

/// nft's name for any family.
pub(super) fn family_name(number: u8) -> String {
    match number {
        1 => "inet".to_owned(),
        2 => "ip".to_owned(),
        3 => "arp".to_owned(),
        5 => "netdev".to_owned(),
        7 => "bridge".to_owned(),
        10 => "ip6".to_owned(),
        other => other.to_string(),
    }
}

/// The kernel's number for a hook.
pub(super) const fn hook(point: HookPoint) -> u32 {
    match point {
        HookPoint::Ingress => 0,
        HookPoint::Input | HookPoint::Egress => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
        HookPoint::Other(number) => number,
    }
}

/// The hook of a number, which means something else in each family.
pub(super) const fn hook_of(family: Family, number: u32) -> HookPoint {
    match (family, number) {
        (Family::Netdev, 0) => HookPoint::Ingress,
        (Family::Netdev, 1) => HookPoint::Egress,
        (Family::Inet | Family::Bridge, 1) => HookPoint::Input,
        (Family::Inet | Family::Bridge, 2) => HookPoint::Forward,
        (Family::Inet | Family::Bridge, 3) => HookPoint::Output,
        (Family::Inet | Family::Bridge, 4) => HookPoint::Postrouting,
        (_, other) => HookPoint::Other(other),
    }
}

/// The kernel's name for a chain type.
pub(super) fn kind(kind: &ChainKind) -> &str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Other(name) => name,
    }
}

/// The kernel's number for a verdict.
pub(super) const fn verdict(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
    }
}

/// The verdict of a number, if our rules use it.
pub(super) const fn verdict_of(number: u32) -> Option<Verdict> {
    match number {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        _ => None,
    }
}
