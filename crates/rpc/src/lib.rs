//! The wire: generated messages, the headers that authenticate every call, and checked conversions of the
//! ids that messages carry as text.

#[expect(missing_docs, reason = "generated; documented in proto/control.proto")]
pub mod control {
    tonic::include_proto!("mapreduce.v1");
}

#[expect(missing_docs, reason = "generated; documented in proto/executor.proto")]
pub mod executor {
    tonic::include_proto!("mapreduce.executor.v1");
}

/// Never shows the secret.
impl std::fmt::Debug for control::JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Never shows keys and passwords.
impl std::fmt::Debug for control::JoinReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinReply").field("coordination", &self.coordination).finish_non_exhaustive()
    }
}

pub mod headers;
mod ids;

pub use ids::{BadField, parse};

/// Grows with every incompatible change of a message. Both ends of a connection must have the same.
pub const WIRE_VERSION: u32 = 1;

/// Largest message either side accepts: a spec names every split of its input.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
