//! Expressions of rules as the kernel knows them, and back.
//!
//! The kernel loads a field into a register, maybe masks it, and compares; our [`Expr::Match`] and
//! [`Expr::Lookup`] are these steps in one. Reading back joins the steps only if they are exactly those
//! that we write. Whatever is left over becomes [`Expr::Foreign`].

use digue_proto::rules::{Base, Expr, Field, Hex, Op, RejectWith};

use super::code;
use crate::drivers::netlink::{Malformed, Writer, attributes, be32, be64, first, text};

const NFT_REG_1: u32 = 1;
const NFT_REG32_00: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const META_IIF: u32 = 4;
const META_OIF: u32 = 5;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const REJECT_TCP_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_ADMIN_PROHIBITED: u8 = 3;
const PER_SECOND: u64 = 1;

/// Attribute numbers of expressions; `DATA` of a comparison or an immediate holds one of the two others.
mod attr {
    pub(super) const DATA_VALUE: u16 = 1;
    pub(super) const DATA_VERDICT: u16 = 2;
    pub(super) const VERDICT_CODE: u16 = 1;
}

/// Packets and bytes of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// The register that holds the word at this offset, as the kernel names it.
fn register(word: u32) -> u32 {
    if word.is_multiple_of(4) { NFT_REG_1 + word / 4 } else { NFT_REG32_00 + word }
}

/// Registers for fields loaded side by side: each begins on a word.
fn registers(fields: &[Field]) -> Vec<u32> {
    let mut word = 0;
    let mut found = Vec::new();
    for field in fields {
        found.push(register(word));
        word += u32::try_from(field.width().div_ceil(4)).unwrap_or(4);
    }
    found
}

/// Writes the expressions of a rule.
pub(super) fn write(w: &mut Writer, exprs: &[Expr]) {
    for expr in exprs {
        match expr {
            Expr::Match { field, mask, op, value } => {
                load(w, *field, NFT_REG_1);
                if let Some(mask) = mask {
                    element(w, "bitwise", |w| {
                        w.be32(1, NFT_REG_1);
                        w.be32(2, NFT_REG_1);
                        w.be32(3, u32::try_from(mask.len()).unwrap_or(0));
                        w.nest(4, |w| w.attribute(attr::DATA_VALUE, mask));
                        w.nest(5, |w| w.attribute(attr::DATA_VALUE, &vec![0; mask.len()]));
                    });
                }
                element(w, "cmp", |w| {
                    w.be32(1, NFT_REG_1);
                    w.be32(2, comparison(*op));
                    w.nest(3, |w| w.attribute(attr::DATA_VALUE, value));
                });
            }
            Expr::Range { field, from, to } => {
                load(w, *field, NFT_REG_1);
                element(w, "range", |w| {
                    w.be32(1, NFT_REG_1);
                    w.be32(2, comparison(Op::Eq));
                    w.nest(3, |w| w.attribute(attr::DATA_VALUE, from));
                    w.nest(4, |w| w.attribute(attr::DATA_VALUE, to));
                });
            }
            Expr::Lookup { fields, set, negated } => {
                for (field, register) in fields.iter().zip(registers(fields)) {
                    load(w, *field, register);
                }
                element(w, "lookup", |w| {
                    w.text(1, set);
                    w.be32(2, NFT_REG_1);
                    w.be32(5, u32::from(*negated));
                });
            }
            Expr::Limit { per_second, burst } => element(w, "limit", |w| {
                w.be64(1, *per_second);
                w.be64(2, PER_SECOND);
                w.be32(3, *burst);
                w.be32(4, 0);
                w.be32(5, 0);
            }),
            Expr::Counter => element(w, "counter", |_| {}),
            Expr::Reject(RejectWith::TcpReset) => element(w, "reject", |w| {
                w.be32(1, REJECT_TCP_RESET);
                w.attribute(2, &[0]);
            }),
            Expr::Reject(RejectWith::AdminProhibited) => element(w, "reject", |w| {
                w.be32(1, REJECT_ICMPX);
                w.attribute(2, &[ICMPX_ADMIN_PROHIBITED]);
            }),
            Expr::Verdict(verdict) => element(w, "immediate", |w| {
                w.be32(1, VERDICT_REGISTER);
                w.nest(2, |w| {
                    w.nest(attr::DATA_VERDICT, |w| w.be32(attr::VERDICT_CODE, code::verdict(*verdict)))
                });
            }),
            Expr::Foreign { name, bytes } => element(w, name, |w| w.raw(bytes)),
        }
    }
}

fn element(w: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    w.nest(code::rule::LIST_ELEMENT, |w| {
        w.text(code::rule::EXPR_NAME, name);
        w.nest(code::rule::EXPR_DATA, data);
    });
}

fn load(w: &mut Writer, field: Field, register: u32) {
    let meta = |w: &mut Writer, key| {
        element(w, "meta", |w| {
            w.be32(1, register);
            w.be32(2, key);
        });
    };
    match field {
        Field::Nfproto => meta(w, META_NFPROTO),
        Field::L4proto => meta(w, META_L4PROTO),
        Field::Iif => meta(w, META_IIF),
        Field::Oif => meta(w, META_OIF),
        Field::Payload { base, offset, len } => element(w, "payload", |w| {
            w.be32(1, register);
            w.be32(2, base as u32);
            w.be32(3, offset.into());
            w.be32(4, len.into());
        }),
    }
}

const fn comparison(op: Op) -> u32 {
    match op {
        Op::Eq => 0,
        Op::Ne => 1,
    }
}

/// One expression of the kernel's, before it is joined with its neighbours.
enum Step {
    Load { field: Field, register: u32 },
    Mask { mask: Hex },
    Compare { op: Op, value: Hex },
    Range { from: Hex, to: Hex },
    Lookup { set: String, negated: bool },
    Whole(Expr),
}

/// Reads the expressions of a rule, and its counters in their order.
pub(super) fn read(list: &[u8]) -> Result<(Vec<Expr>, Vec<Count>), Malformed> {
    let mut joiner = Joiner::default();
    let mut counts = Vec::new();
    for (_, item) in attributes(list)? {
        let parts = attributes(item)?;
        let name = text(first(&parts, code::rule::EXPR_NAME).ok_or(Malformed("expression without a name"))?);
        let data = first(&parts, code::rule::EXPR_DATA).unwrap_or_default();
        let attributes = attributes(data)?;
        if name == "counter" {
            counts.push(Count {
                bytes: first(&attributes, 1).map_or(Ok(0), be64)?,
                packets: first(&attributes, 2).map_or(Ok(0), be64)?,
            });
        }
        joiner.push(step(&name, &attributes)?, Expr::Foreign { name, bytes: data.into() });
    }
    Ok((joiner.finish(), counts))
}

/// Joins loads with what uses them.
#[derive(Default)]
struct Joiner {
    done: Vec<Expr>,
    /// Loads and a mask not yet used, each with what it is if nothing uses it.
    open: Vec<(Field, u32, Expr)>,
    mask: Option<(Hex, Expr)>,
}

impl Joiner {
    fn push(&mut self, step: Option<Step>, foreign: Expr) {
        match step {
            Some(Step::Load { field, register }) if self.mask.is_none() => {
                self.open.push((field, register, foreign));
                return;
            }
            Some(Step::Mask { mask }) if self.mask.is_none() && self.single(mask.len()) => {
                self.mask = Some((mask, foreign));
                return;
            }
            Some(Step::Compare { op, value }) if self.single(value.len()) => {
                if let Some((field, _, _)) = self.open.pop() {
                    let mask = self.mask.take().map(|(mask, _)| mask);
                    self.done.push(Expr::Match { field, mask, op, value });
                    return;
                }
            }
            Some(Step::Range { from, to })
                if self.mask.is_none() && self.single(from.len()) && from.len() == to.len() =>
            {
                if let Some((field, _, _)) = self.open.pop() {
                    self.done.push(Expr::Range { field, from, to });
                    return;
                }
            }
            Some(Step::Lookup { set, negated }) if self.mask.is_none() && self.side_by_side() => {
                let fields = self.open.drain(..).map(|(field, _, _)| field).collect();
                self.done.push(Expr::Lookup { fields, set, negated });
                return;
            }
            Some(Step::Whole(expr)) if self.open.is_empty() => {
                self.done.push(expr);
                return;
            }
            Some(_) | None => {}
        }
        self.give_up();
        self.done.push(foreign);
    }

    /// Whether exactly one field of this length is loaded, in the first register.
    fn single(&self, width: usize) -> bool {
        matches!(self.open.as_slice(), [(field, NFT_REG_1, _)] if field.width() == width)
    }

    fn side_by_side(&self) -> bool {
        let fields: Vec<Field> = self.open.iter().map(|(field, _, _)| *field).collect();
        let found: Vec<u32> = self.open.iter().map(|(_, register, _)| *register).collect();
        !found.is_empty() && found == registers(&fields)
    }

    fn give_up(&mut self) {
        self.done.extend(self.open.drain(..).map(|(_, _, foreign)| foreign));
        self.done.extend(self.mask.take().map(|(_, foreign)| foreign));
    }

    fn finish(mut self) -> Vec<Expr> {
        self.give_up();
        self.done
    }
}

/// Recognises an expression of ours; `None` for any other. Attributes that we do not know make it another.
fn step(name: &str, attributes: &[(u16, &[u8])]) -> Result<Option<Step>, Malformed> {
    let known: &[u16] = match name {
        "meta" => &[1, 2],
        "range" => &[1, 2, 3, 4],
        "payload" | "limit" => &[1, 2, 3, 4, 5],
        "bitwise" => &[1, 2, 3, 4, 5, 6],
        "cmp" => &[1, 2, 3],
        "lookup" => &[1, 2, 5],
        "counter" => &[1, 2, 3],
        "reject" | "immediate" => &[1, 2],
        _ => return Ok(None),
    };
    if attributes.iter().any(|(kind, _)| !known.contains(kind)) {
        return Ok(None);
    }
    let number = |kind| first(attributes, kind).map(be32).transpose();
    Ok(match name {
        "meta" => {
            let field = match number(2)? {
                Some(META_NFPROTO) => Field::Nfproto,
                Some(META_L4PROTO) => Field::L4proto,
                Some(META_IIF) => Field::Iif,
                Some(META_OIF) => Field::Oif,
                _ => return Ok(None),
            };
            number(1)?.map(|register| Step::Load { field, register })
        }
        "payload" => payload(number(1)?, number(2)?, number(3)?, number(4)?),
        "bitwise" => bitwise(attributes)?,
        "cmp" => {
            let op = match number(2)? {
                Some(0) => Op::Eq,
                Some(1) => Op::Ne,
                _ => return Ok(None),
            };
            let value = value(attributes, 3)?;
            value.filter(|_| number(1) == Ok(Some(NFT_REG_1))).map(|value| Step::Compare { op, value })
        }
        "range" => {
            let plain = number(1)? == Some(NFT_REG_1) && number(2)? == Some(comparison(Op::Eq));
            match (value(attributes, 3)?, value(attributes, 4)?) {
                (Some(from), Some(to)) if plain => Some(Step::Range { from, to }),
                _ => None,
            }
        }
        "lookup" => {
            let negated = match number(5)? {
                None | Some(0) => false,
                Some(1) => true,
                Some(_) => return Ok(None),
            };
            let set = first(attributes, 1).map(text);
            set.filter(|_| number(2) == Ok(Some(NFT_REG_1))).map(|set| Step::Lookup { set, negated })
        }
        "limit" => limit(attributes)?,
        "counter" => Some(Step::Whole(Expr::Counter)),
        "reject" => match (number(1)?, first(attributes, 2)) {
            (Some(REJECT_TCP_RESET), None | Some([0])) => {
                Some(Step::Whole(Expr::Reject(RejectWith::TcpReset)))
            }
            (Some(REJECT_ICMPX), Some([ICMPX_ADMIN_PROHIBITED])) => {
                Some(Step::Whole(Expr::Reject(RejectWith::AdminProhibited)))
            }
            _ => None,
        },
        "immediate" => immediate(attributes)?,
        _ => None,
    })
}

fn payload(register: Option<u32>, base: Option<u32>, offset: Option<u32>, len: Option<u32>) -> Option<Step> {
    let base = match base? {
        0 => Base::Link,
        1 => Base::Network,
        2 => Base::Transport,
        _ => return None,
    };
    let (offset, len) = (u16::try_from(offset?).ok()?, u8::try_from(len?).ok()?);
    Some(Step::Load { field: Field::payload(base, offset, len), register: register? })
}

fn bitwise(attributes: &[(u16, &[u8])]) -> Result<Option<Step>, Malformed> {
    let number = |kind| first(attributes, kind).map(be32).transpose();
    let in_place = number(1)? == Some(NFT_REG_1) && number(2)? == Some(NFT_REG_1);
    let (Some(mask), Some(xor)) = (value(attributes, 4)?, value(attributes, 5)?) else { return Ok(None) };
    let length = number(3)?.is_some_and(|length| length as usize == mask.len());
    let plain =
        xor.len() == mask.len() && xor.iter().all(|b| *b == 0) && matches!(number(6)?, None | Some(0));
    Ok(if in_place && length && plain { Some(Step::Mask { mask }) } else { None })
}

fn limit(attributes: &[(u16, &[u8])]) -> Result<Option<Step>, Malformed> {
    let wide = |kind| first(attributes, kind).map(be64).transpose();
    let number = |kind| first(attributes, kind).map(be32).transpose();
    let plain = wide(2)? == Some(PER_SECOND) && number(4)? == Some(0) && number(5)? == Some(0);
    let (Some(per_second), Some(burst)) = (wide(1)?, number(3)?) else { return Ok(None) };
    Ok(if plain { Some(Step::Whole(Expr::Limit { per_second, burst })) } else { None })
}

fn immediate(attributes: &[(u16, &[u8])]) -> Result<Option<Step>, Malformed> {
    if first(attributes, 1).map(be32).transpose()? != Some(VERDICT_REGISTER) {
        return Ok(None);
    }
    let Some(data) = first(attributes, 2) else { return Ok(None) };
    let data = self::attributes(data)?;
    let [(attr::DATA_VERDICT, verdict)] = data.as_slice() else { return Ok(None) };
    let verdict = self::attributes(verdict)?;
    let [(attr::VERDICT_CODE, number)] = verdict.as_slice() else { return Ok(None) };
    Ok(code::verdict_of(be32(number)?).map(|verdict| Step::Whole(Expr::Verdict(verdict))))
}

fn value(attributes: &[(u16, &[u8])], kind: u16) -> Result<Option<Hex>, Malformed> {
    let Some(data) = first(attributes, kind) else { return Ok(None) };
    let data = self::attributes(data)?;
    Ok(match data.as_slice() {
        [(attr::DATA_VALUE, value)] => Some((*value).into()),
        _ => None,
    })
}
