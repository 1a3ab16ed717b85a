//! `zookeeper://host:port,host:port/path?auth=/file`: which servers, which part of their tree is ours, and by what name
//! and password it is kept from others.

use std::{net::IpAddr, path::PathBuf};

/// ZooKeeper's own port.
const PORT: u16 = 2181;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `host:port`, each.
    pub servers: Vec<String>,
    /// The node that everything lies below, such as `/mapreduce`.
    pub root: String,
    /// The file that holds `user:password`.
    pub auth: Option<PathBuf>,
}

impl Place {
    /// From what follows `zookeeper://`; else what is wrong with it.
    pub fn parse(text: &str) -> Result<Place, String> {
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let (servers, root) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        if servers.contains('@') {
            return Err("a password does not belong into a URL, which everybody can see in the list of \
                        processes: write user:password into a file and end the URL with ?auth=/path/to/it"
                .to_owned());
        }
        let servers = servers.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(Place { servers, root: checked_root(root)?, auth: auth(query)? })
    }

    /// Whether nobody but this machine can reach the servers.
    pub fn is_loopback(&self) -> bool {
        self.servers.iter().all(|server| {
            let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    }
}

fn server(text: &str) -> Result<String, String> {
    // The colons in an IPv6 address are within brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (text, Some(PORT)),
    };
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    match port.filter(|port| *port != 0) {
        Some(port) if !host.is_empty() && !is_bare_ipv6 => Ok(format!("{host}:{port}")),
        _ => Err(format!("{text:?} is no server: give host:port")),
    }
}

fn checked_root(root: &str) -> Result<String, String> {
    let is_bad = |name: &str| matches!(name, "" | "." | "..") || name.chars().any(char::is_control);
    match root.strip_prefix('/') {
        None | Some("") => {
            Err("it names no path below which everything is kept, such as /mapreduce".to_owned())
        }
        Some(names) if names.split('/').any(is_bad) => Err(format!("{root:?} is no path of ZooKeeper's")),
        Some(_) => Ok(root.to_owned()),
    }
}

fn auth(query: &str) -> Result<Option<PathBuf>, String> {
    match query.strip_prefix("auth=") {
        None if query.is_empty() => Ok(None),
        Some(file) if file.starts_with('/') => Ok(Some(file.into())),
        _ => Err(format!("{query:?} is unknown; the one option is ?auth=/absolute/file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Vec<String> {
        Place::parse(url).unwrap().servers
    }

    #[test]
    fn a_url_names_servers_a_path_and_a_file() {
        let place = Place::parse("a:1,b,[::1]:3,[::1]/x/y?auth=/z w").unwrap();
        assert_eq!(place.servers, ["a:1", "b:2181", "[::1]:3", "[::1]:2181"]);
        assert_eq!((place.root.as_str(), place.auth), ("/x/y", Some("/z w".into())));
        assert_eq!(Place::parse("a/x").unwrap().auth, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "\"\" is no server"),
            ("/x", "\"\" is no server"),
            ("a", "names no path"),
            ("a/", "names no path"),
            ("a,/x", "\"\" is no server"),
            ("a:0/x", "\"a:0\" is no server"),
            ("a:b/x", "\"a:b\" is no server"),
            ("a:99999/x", "\"a:99999\" is no server"),
            ("::1/x", "\"::1\" is no server"),
            (":1/x", "\":1\" is no server"),
            ("a/x/", "\"/x/\" is no path"),
            ("a//x", "\"//x\" is no path"),
            ("a/x/../y", "\"/x/../y\" is no path"),
            ("a/x?auth=y", "the one option is"),
            ("a/x?sync=no", "the one option is"),
            ("ada:secret@a/x", "does not belong into a URL"),
        ];
        for (url, expected) in cases {
            let why = Place::parse(url).unwrap_err();
            assert!(why.contains(expected), "{url}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn loopback_is_every_server_on_this_machine() {
        let is_loopback = |url: &str| Place::parse(url).unwrap().is_loopback();
        assert!(is_loopback("localhost:1,127.0.0.2,[::1]/x"));
        assert!(!is_loopback("localhost,example.org/x") && !is_loopback("10.0.0.1/x"));
        assert_eq!(servers("localhost/x"), ["localhost:2181"]);
    }
}
