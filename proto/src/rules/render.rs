//! Rules as text for people, close to what `nft list ruleset` prints. Nothing reads it back.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::bytes::Hex;
use super::field::{Base, Field};
use super::ruleset::{
    Chain, ChainKind, Element, Expr, HookPoint, Op, RejectWith, Rule, RuleSet, Set, Table, Verdict,
};

impl RuleSet {
    /// All tables as text.
    pub fn render(&self) -> String {
        self.tables.iter().map(Table::render).collect::<Vec<_>>().join("\n")
    }
}

impl Table {
    fn render(&self) -> String {
        let mut out = format!("table {} {} {{\n", self.family.as_str(), self.name);
        let mut flags: Vec<String> = Vec::new();
        for (set, name) in [(self.owner, "owner"), (self.dormant, "dormant")] {
            if set {
                flags.push(name.to_owned());
            }
        }
        if self.other_flags != 0 {
            flags.push(format!("{:#x}", self.other_flags));
        }
        if !flags.is_empty() {
            line(&mut out, 1, &format!("flags {}", flags.join(",")));
        }
        if self.other_objects != 0 {
            line(&mut out, 1, &format!("# and {} objects of other kinds", self.other_objects));
        }
        for set in &self.sets {
            set.render(&mut out);
        }
        for chain in &self.chains {
            chain.render(&mut out);
        }
        out.push_str("}\n");
        out
    }
}

impl Set {
    fn render(&self, out: &mut String) {
        let mut flags = Vec::new();
        for (set, name) in
            [(!self.timeout, "constant"), (self.interval, "interval"), (self.timeout, "timeout")]
        {
            if set {
                flags.push(name.to_owned());
            }
        }
        if self.other_flags != 0 {
            flags.push(format!("{:#x}", self.other_flags));
        }
        line(out, 1, &format!("set {} {{", self.name));
        line(out, 2, &format!("flags {}", flags.join(",")));
        let elements: Vec<String> = self.elements.iter().map(|element| self.show(element)).collect();
        line(out, 2, &format!("elements = {{ {} }}", elements.join(", ")));
        line(out, 1, "}");
    }

    pub(super) fn show(&self, element: &Element) -> String {
        let mut text = if element.from == element.to { key(&element.from) } else { interval(element) };
        if let Some(timeout) = element.timeout_ms {
            _ = write!(text, " timeout {}s", timeout / 1000);
            if timeout % 1000 != 0 {
                _ = write!(text, "{}ms", timeout % 1000);
            }
        }
        text
    }
}

/// A key by its length, which is different for every kind of key that our sets have.
fn key(bytes: &Hex) -> String {
    if let Some((address, [p, q, 0, 0])) = bytes.split_last_chunk::<4>()
        && matches!(address.len(), 4 | 16)
    {
        return format!("{} . {}", address_text(address), u16::from_be_bytes([*p, *q]));
    }
    match &**bytes {
        [2] => "ipv4".to_owned(),
        [10] => "ipv6".to_owned(),
        [one] => one.to_string(),
        other => address_text(other),
    }
}

fn address_text(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ipv4Addr::from(v4).to_string();
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Ipv6Addr::from(v6).to_string();
    }
    format!("0x{}", Hex::from(bytes))
}

/// A network if the interval is one, both ends otherwise.
fn interval(element: &Element) -> String {
    let number = |bytes: &Hex| bytes.iter().fold(0u128, |sum, byte| (sum << 8) | u128::from(*byte));
    let (from, to) = (number(&element.from), number(&element.to));
    let hosts = from ^ to;
    let network = hosts & hosts.wrapping_add(1) == 0 && from & hosts == 0;
    if network && element.from.len() == element.to.len() {
        let bits = u32::try_from(element.from.len()).unwrap_or(0) * 8;
        return format!("{}/{}", key(&element.from), bits.saturating_sub(hosts.count_ones()));
    }
    format!("{}-{}", key(&element.from), key(&element.to))
}

impl Chain {
    fn render(&self, out: &mut String) {
        line(out, 1, &format!("chain {} {{", self.name));
        if let Some(hook) = &self.hook {
            let kind = match &hook.kind {
                ChainKind::Filter => "filter",
                ChainKind::Other(kind) => kind,
            };
            let point = match hook.point {
                HookPoint::Input => "input".to_owned(),
                HookPoint::Forward => "forward".to_owned(),
                HookPoint::Output => "output".to_owned(),
                HookPoint::Postrouting => "postrouting".to_owned(),
                HookPoint::Ingress => "ingress".to_owned(),
                HookPoint::Egress => "egress".to_owned(),
                HookPoint::Other(number) => number.to_string(),
            };
            let devices = match hook.devices.as_slice() {
                [] => String::new(),
                [one] => format!(" device \"{one}\""),
                many => format!(" devices = {{ {} }}", many.join(", ")),
            };
            let policy = verdict(hook.policy);
            let priority = hook.priority;
            line(out, 2, &format!("type {kind} hook {point}{devices} priority {priority}; policy {policy};"));
        }
        for rule in &self.rules {
            line(out, 2, &rule.render());
        }
        line(out, 1, "}");
    }
}

impl Rule {
    /// The rule as one line.
    pub fn render(&self) -> String {
        let tag = Expr::equals(Field::payload(Base::Link, 12, 2), [0x81, 0x00]);
        let tagged = self.exprs.first() == Some(&tag);
        let mut text = self.exprs.iter().map(|expr| expr.render(tagged)).collect::<Vec<_>>().join(" ");
        if !self.comment.is_empty() {
            _ = write!(text, " comment \"{}\"", self.comment);
        }
        text
    }
}

impl Expr {
    fn render(&self, tagged: bool) -> String {
        match self {
            Self::Match { field, mask, op, value } => {
                let sign = match op {
                    Op::Eq => "",
                    Op::Ne => "!= ",
                };
                compare(*field, mask.as_ref(), sign, value, tagged)
            }
            Self::Range { field, from, to } => {
                let name = field.name(tagged);
                format!("{name} {}-{}", shown(*field, &name, from), shown(*field, &name, to))
            }
            Self::Lookup { fields, set, negated } => {
                let names: Vec<String> = fields.iter().map(|field| field.name(tagged)).collect();
                format!("{} {}@{set}", names.join(" . "), if *negated { "!= " } else { "" })
            }
            Self::Limit { per_second, burst } => {
                format!("limit rate {per_second}/second burst {burst} packets")
            }
            Self::Counter => "counter".to_owned(),
            Self::Reject(RejectWith::TcpReset) => "reject with tcp reset".to_owned(),
            Self::Reject(RejectWith::AdminProhibited) => "reject with icmpx admin-prohibited".to_owned(),
            Self::Verdict(decision) => verdict(*decision).to_owned(),
            Self::Foreign { name, bytes } => format!("?{name}({bytes})"),
        }
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Drop => "drop",
    }
}

fn compare(field: Field, mask: Option<&Hex>, sign: &str, value: &Hex, tagged: bool) -> String {
    let name = field.name(tagged);
    let Some(mask) = mask else { return format!("{name} {sign}{}", shown(field, &name, value)) };
    if let Some(words) = header_words(field, mask, value) {
        return words;
    }
    let address = name.ends_with("addr");
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    if address {
        return format!("{name} {sign}{}/{ones}", address_text(value));
    }
    format!("{name} & 0x{mask} {sign}0x{value}")
}

/// Words for the one comparison of a header's first bytes that rules on cards begin with.
fn header_words(field: Field, mask: &Hex, value: &Hex) -> Option<String> {
    let Field::Payload { base, offset, len } = field else { return None };
    let (place, mask, value) = match (base, offset) {
        (Base::Link, 12) => ("frame ", mask.get(2..)?, value.get(2..)?),
        (Base::Link, 16) => ("tagged ", mask.get(2..)?, value.get(2..)?),
        (Base::Network, 0) if len > 1 => ("", &**mask, &**value),
        (Base::Link | Base::Network | Base::Transport, _) => return None,
    };
    match (mask, value) {
        ([0xff, 0, 0, 0, 0, 0, 0x1f, 0xff, 0, 0xff], [0x45, .., protocol]) => {
            Some(format!("{place}ip (no options, no fragment) protocol {}", protocol_name(*protocol)))
        }
        ([0xf0, 0, 0, 0, 0, 0, 0xff, 0], [0x60, .., protocol, _]) => {
            Some(format!("{place}ip6 nexthdr {}", protocol_name(*protocol)))
        }
        ([0xf0, 0, 0, 0, 0, 0, 0xff, 0xff], [0x60, .., protocol, hops]) => {
            Some(format!("{place}ip6 nexthdr {} hoplimit {hops}", protocol_name(*protocol)))
        }
        _ => None,
    }
}

fn shown(field: Field, name: &str, value: &Hex) -> String {
    match (field, &**value) {
        (Field::Nfproto, [2]) => "ipv4".to_owned(),
        (Field::Nfproto, [10]) => "ipv6".to_owned(),
        (Field::Iif | Field::Oif, [1, 0, 0, 0] | [0, 0, 0, 1]) => "lo".to_owned(),
        (Field::L4proto, [protocol]) => protocol_name(*protocol),
        (_, [protocol]) if name.ends_with("protocol") || name.ends_with("nexthdr") => {
            protocol_name(*protocol)
        }
        (Field::Payload { base: Base::Link, offset: 12 | 16, len: 2 }, [a, b]) => match [*a, *b] {
            [0x08, 0x00] => "ip".to_owned(),
            [0x86, 0xdd] => "ip6".to_owned(),
            [0x08, 0x06] => "arp".to_owned(),
            [0x81, 0x00] => "8021q".to_owned(),
            _ => format!("0x{value}"),
        },
        (_, [a, b]) => u16::from_be_bytes([*a, *b]).to_string(),
        (_, [one]) => one.to_string(),
        (_, bytes) if name.ends_with("addr") || name.ends_with(" ip") => address_text(bytes),
        (_, _) => format!("0x{value}"),
    }
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    for _ in 0..depth {
        out.push_str("    ");
    }
    out.push_str(text);
    out.push('\n');
}
