//! The headers of every call: who is calling, and which version of the wire it speaks.

use base64::{Engine, engine::general_purpose::STANDARD};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::WIRE_VERSION;

const AUTHORIZATION: &str = "authorization";
const VERSION: &str = "mapreduce-version";

/// Who makes a call.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A person or program, by name and password.
    User {
        /// The user's name.
        username: String,
        /// In clear; the wire is loopback or TLS.
        password: String,
    },
    /// A worker of this cluster, by the cluster's key.
    Cluster {
        /// The key, as text.
        key: String,
    },
}

/// Names the caller and never a secret, so that it may be logged.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::User { username, .. } => write!(f, "User({username:?})"),
            Credentials::Cluster { .. } => f.write_str("Cluster"),
        }
    }
}

impl Credentials {
    /// Adds the headers to a call.
    pub fn attach<T>(&self, request: &mut Request<T>) {
        let text = match self {
            Credentials::User { username, password } => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
            }
            Credentials::Cluster { key } => format!("Bearer {key}"),
        };
        // Base64 is always a legal header value; an odd cluster key is refused by the master, like a missing one.
        if let Ok(mut value) = MetadataValue::<Ascii>::try_from(text) {
            value.set_sensitive(true);
            request.metadata_mut().insert(AUTHORIZATION, value);
        }
        attach_version(request);
    }

    /// Reads the headers of a call. User names hold no colon.
    pub fn from_headers(headers: &MetadataMap) -> Result<Credentials, Status> {
        check_version(headers, WIRE_VERSION)?;
        let header = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or_else(|| {
            Status::unauthenticated("no credentials: log in with Auth(username, password) and pass it on")
        })?;
        let malformed = || Status::unauthenticated("the authorization header can't be read");
        match header.split_once(' ') {
            Some(("Bearer", key)) => Ok(Credentials::Cluster { key: key.to_owned() }),
            Some(("Basic", encoded)) => {
                let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
                let text = String::from_utf8(bytes).map_err(|_| malformed())?;
                let (username, password) = text.split_once(':').ok_or_else(malformed)?;
                Ok(Credentials::User { username: username.to_owned(), password: password.to_owned() })
            }
            _ => Err(malformed()),
        }
    }
}

/// Adds the header that says which version of the wire the caller speaks.
pub fn attach_version<T>(request: &mut Request<T>) {
    request.metadata_mut().insert(VERSION, MetadataValue::from(WIRE_VERSION));
}

/// An error unless the caller speaks version `ours` of the wire, as this end does. It bears the version, which tells it from
/// every other error.
pub fn check_version(headers: &MetadataMap, ours: u32) -> Result<(), Status> {
    let theirs = headers.get(VERSION).and_then(|v| v.to_str().ok()).unwrap_or("none");
    if theirs == ours.to_string() {
        return Ok(());
    }
    let mut refused = Status::failed_precondition(format!(
        "the caller speaks wire version {theirs}, this master {ours}: install the same version of mapreduce everywhere"
    ));
    refused.metadata_mut().insert(VERSION, MetadataValue::from(ours));
    Err(refused)
}

/// Whether a call failed because the master speaks another version of the wire.
pub fn is_other_version(status: &Status) -> bool {
    status.metadata().contains_key(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_credentials_there_and_back() {
        let user = Credentials::User { username: "ada".into(), password: "pass:word é".into() };
        let cluster = Credentials::Cluster { key: "0123abcd".into() };
        for credentials in [user, cluster] {
            let mut request = Request::new(());
            credentials.attach(&mut request);
            assert_eq!(Credentials::from_headers(request.metadata()).unwrap(), credentials);
        }
    }

    #[test]
    fn a_call_without_credentials_or_of_another_version_is_refused() {
        let mut request = Request::new(());
        request.metadata_mut().insert(VERSION, MetadataValue::from(WIRE_VERSION));
        let refused = Credentials::from_headers(request.metadata()).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        Credentials::Cluster { key: "k".into() }.attach(&mut request);
        request.metadata_mut().insert(VERSION, MetadataValue::from(WIRE_VERSION + 1));
        let refused = Credentials::from_headers(request.metadata()).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    }

    #[test]
    fn secrets_are_not_printed() {
        let user = Credentials::User { username: "ada".into(), password: "secret".into() };
        assert!(!format!("{user:?}").contains("secret"));
    }
}
