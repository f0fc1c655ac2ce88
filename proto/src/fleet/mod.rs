//! The fleet as folded from verified documents: what a view may show, and nothing more.

pub mod view;
