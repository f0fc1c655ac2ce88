//! The command as people run it.

mod controller;
mod desk;
mod support;
