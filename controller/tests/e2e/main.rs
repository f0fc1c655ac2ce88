//! The controller as a whole: the real program, real TLS, and a small agent that speaks to it.

mod agent;
mod api;
mod documents;
mod durability;
mod main_job;
mod process;
mod transport;
