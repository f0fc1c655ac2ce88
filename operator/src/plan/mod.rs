//! Plans: what an order would do, computed and frozen before anyone signs.

pub(crate) mod show;
