//! What etcd's and the transport's errors mean for what a call was to do.

use tonic::{Code, Status};

/// How the servers begin what they say themselves; what a broken connection says does not.
const OWN_WORDS: [&str; 2] = ["etcdserver: ", "grpc: "];

/// Why a call has no answer to go by.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nothing was changed, and nothing will be by trying again.
    Refused(String),
    /// Nothing was changed; another connection may help.
    NotYet(String),
    /// It may have been done, or may be yet.
    Unknown(String),
}

impl Trouble {
    pub fn why(self) -> String {
        match self {
            Trouble::Refused(why) | Trouble::NotYet(why) | Trouble::Unknown(why) => why,
        }
    }
}

/// Everything that is not known to be the servers' refusal is unknown: connections break, and calls are cut off, at any
/// moment between the sending and the answer.
impl From<&Status> for Trouble {
    fn from(status: &Status) -> Trouble {
        let said = status.message();
        let why = match std::error::Error::source(status) {
            Some(cause) => format!("{said}: {}", innermost(cause)),
            None => said.to_owned(),
        };
        match (status.code(), said) {
            (Code::Unavailable, "etcdserver: no leader") => Trouble::NotYet(
                "runs and serves nobody (no quorum: most of the cluster's servers must run)".to_owned(),
            ),
            // The token was forgotten, by a restart for one, or given before users were changed. A new connection has a
            // new one.
            (Code::Unauthenticated, _) | (_, "etcdserver: revision of auth store is old") => {
                Trouble::NotYet(why)
            }
            (Code::ResourceExhausted, "etcdserver: too many requests") => Trouble::NotYet(why),
            (
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::ResourceExhausted
                | Code::FailedPrecondition,
                said,
            ) if OWN_WORDS.iter().any(|words| said.starts_with(words)) => Trouble::Refused(why),
            _ => Trouble::Unknown(why),
        }
    }
}

/// The cause that says something: those around it say "transport error".
fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_servers_refused_is_known_not_to_be_done() {
        let refused =
            |code, said: &str| matches!(Trouble::from(&Status::new(code, said)), Trouble::Refused(_));
        let unknown =
            |code, said: &str| matches!(Trouble::from(&Status::new(code, said)), Trouble::Unknown(_));
        let not_yet =
            |code, said: &str| matches!(Trouble::from(&Status::new(code, said)), Trouble::NotYet(_));
        assert!(refused(Code::PermissionDenied, "etcdserver: permission denied"));
        assert!(refused(Code::InvalidArgument, "etcdserver: request is too large"));
        assert!(refused(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"));
        assert!(not_yet(Code::Unavailable, "etcdserver: no leader"));
        assert!(not_yet(Code::Unauthenticated, "etcdserver: invalid auth token"));
        assert!(not_yet(Code::InvalidArgument, "etcdserver: revision of auth store is old"));
        assert!(unknown(Code::Unavailable, "etcdserver: request timed out"));
        assert!(unknown(Code::Unavailable, "etcdserver: leader changed"));
        assert!(unknown(Code::Unavailable, "transport error"));
        // HTTP/2's ENHANCE_YOUR_CALM and INADEQUATE_SECURITY, which a connection may end with after a write was sent.
        assert!(unknown(Code::ResourceExhausted, "h2 protocol error: http2 error"));
        assert!(unknown(Code::PermissionDenied, "h2 protocol error: http2 error"));
    }
}
