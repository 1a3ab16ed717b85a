//! The ownership, commit and takeover protocol as a model.
