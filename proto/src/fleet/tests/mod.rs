//! Tests of the fold, by the name of the attack or promise that they show.
