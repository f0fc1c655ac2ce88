//! Fixtures of the attacks: people with seeded keys, trust roots, orders, and a host shell in memory.
//!
//! Everything is reproducible: keys come from names, entropy from a counter, time from the test.

pub(crate) mod machine;
pub(crate) mod orders;
pub(crate) mod people;
pub(crate) mod receiver;
pub(crate) mod sshsig;
pub(crate) mod world;

pub(crate) use machine::{Crashed, Machine};
pub(crate) use orders::Draft;
pub(crate) use people::{key, public};
pub(crate) use world::World;
