//! Where an entry lies in ZooKeeper's tree: always in a directory below the root, never below another entry.
//!
//! ```text
//! /jobs/job_1      <root>/jobs/job_1
//! /a/b/c           <root>/a%2Fb/c
//! /x               <root>/%/x
//! ```
//!
//! So entries have no children in ZooKeeper's sense, which ephemeral ones may not have and which would keep others from
//! being deleted, and a directory is never taken for an entry. Names that ZooKeeper forbids are encoded too.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Beside these, all that is not ASCII is encoded: ZooKeeper forbids some of it.
const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');
/// The directory of entries that lie directly below the root; no encoded name is a lone percent sign.
const TOP: &str = "%";
/// The directory of the sessions' own nodes; a percent sign that two hexadecimal digits don't follow is no encoded name.
const SESSIONS: &str = "%sessions";

/// The nodes of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it lies.
    pub directory: String,
    /// The entry itself.
    pub path: String,
}

impl Node {
    /// Of the entry at `path`.
    pub fn of(root: &str, path: &str) -> Node {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Node::within(directory(root, parent), name)
    }

    /// Of the session of an incarnation.
    pub fn of_session(root: &str, incarnation: &str) -> Node {
        Node::within(format!("{root}/{SESSIONS}"), incarnation)
    }

    fn within(directory: String, name: &str) -> Node {
        let path = format!("{directory}/{}", encoded(name));
        Node { directory, path }
    }
}

/// Where the entries directly below `parent` lie.
pub(super) fn directory(root: &str, parent: &str) -> String {
    match parent.trim_matches('/') {
        "" => format!("{root}/{TOP}"),
        parent => format!("{root}/{}", encoded(parent)),
    }
}

fn encoded(name: &str) -> String {
    match name {
        "." | ".." => name.replace('.', "%2E"),
        name => utf8_percent_encode(name, ENCODED).to_string(),
    }
}

/// The name that was encoded. What was not is somebody else's, and shown as it is.
pub(super) fn decoded(name: &str) -> String {
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_in_directories() {
        let paths = |path| {
            let node = Node::of("/r", path);
            (node.directory, node.path)
        };
        assert_eq!(paths("/jobs/job_1"), ("/r/jobs".into(), "/r/jobs/job_1".into()));
        assert_eq!(paths("/a/b/c"), ("/r/a%2Fb".into(), "/r/a%2Fb/c".into()));
        assert_eq!(paths("/x"), ("/r/%".into(), "/r/%/x".into()));
        assert_eq!(directory("/r", "/a/b"), "/r/a%2Fb");
        assert_eq!(directory("/r", "/"), "/r/%");
    }

    #[test]
    fn every_name_survives() {
        for name in ["job_1", ".", "..", "...", "%", "%2E", "é", "\u{f8ff}", "a\u{1}b", "日本"] {
            let node = Node::of("/r", &format!("/users/{name}"));
            let kept = node.path.strip_prefix("/r/users/").unwrap();
            assert!(kept.is_ascii() && !kept.contains('/') && kept != "." && kept != "..", "{kept}");
            assert_eq!(decoded(kept), name);
        }
    }

    #[test]
    fn no_entry_lies_among_the_sessions() {
        let sessions = Node::of_session("/r", "worker-1").directory;
        for parent in ["/%sessions", "%sessions", "/sessions", "/%25sessions"] {
            assert_ne!(directory("/r", parent), sessions);
        }
    }
}
