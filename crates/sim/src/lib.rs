//! Proof of the promise, not published: a model of the protocol, small enough to be explored whole.

pub mod model;
