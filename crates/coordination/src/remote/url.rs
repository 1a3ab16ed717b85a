//! `scheme://host:port,host:port/path?auth=/file`: which servers, which part of what they keep is ours, and by what name
//! and password it is kept from others.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `host:port`, each.
    pub servers: Vec<String>,
    /// The path that everything lies below, such as `/mapreduce`.
    pub root: String,
    /// The file that holds `user:password`.
    pub auth: Option<PathBuf>,
}

impl Place {
    /// From what follows `scheme://`, else what is wrong with it; `port` is for servers without one.
    pub fn parse(text: &str, port: u16) -> Result<Place, String> {
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let (servers, root) = text.find('/').map_or((text, ""), |at| text.split_at(at));
        if servers.contains('@') {
            return Err("a password does not belong into a URL, which everybody can see in the list of \
                        processes: write user:password into a file and end the URL with ?auth=/path/to/it"
                .to_owned());
        }
        let servers = servers.split(',').map(|text| server(text, port)).collect::<Result<_, _>>()?;
        Ok(Place { servers, root: checked_root(root)?, auth: auth(query)? })
    }

    /// The name and password that keep others out, else why there is no access. None on loopback only.
    pub fn login(&self) -> Result<Option<Login>, String> {
        match &self.auth {
            Some(file) => read_login(file).map(Some),
            None if self.is_loopback() => Ok(None),
            None => Err(
                "everybody who can reach the servers could change what is kept there: write user:password \
                         into a file and end the URL with ?auth=/path/to/it"
                    .to_owned(),
            ),
        }
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

/// A name and a password.
#[derive(Clone)]
pub(crate) struct Login {
    pub user: String,
    pub password: String,
}

/// Never shows the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

fn read_login(file: &Path) -> Result<Login, String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| format!("{shown}: {e}"))?;
    match text.trim().split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(Login { user: user.to_owned(), password: password.to_owned() })
        }
        _ => Err(format!("{shown} must hold one line, user:password")),
    }
}

/// The URL as errors show it: without a password that somebody wrote into it. `rest` is what follows `scheme://`.
pub(crate) fn shown(url: &str, rest: &str) -> String {
    let servers = rest.split('/').next().unwrap_or_default();
    match servers.rsplit_once('@') {
        Some((login, _)) => url.replacen(login, "…", 1),
        None => url.to_owned(),
    }
}

fn server(text: &str, standard: u16) -> Result<String, String> {
    // The colons in an IPv6 address are within brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (text, Some(standard)),
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
        Some(names) if names.split('/').any(is_bad) => Err(format!("{root:?} is no path of names")),
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

    fn parse(url: &str) -> Result<Place, String> {
        Place::parse(url, 2181)
    }

    #[test]
    fn a_url_names_servers_a_path_and_a_file() {
        let place = parse("a:1,b,[::1]:3,[::1]/x/y?auth=/z w").unwrap();
        assert_eq!(place.servers, ["a:1", "b:2181", "[::1]:3", "[::1]:2181"]);
        assert_eq!((place.root.as_str(), place.auth), ("/x/y", Some("/z w".into())));
        assert_eq!(parse("a/x").unwrap().auth, None);
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
            let why = parse(url).unwrap_err();
            assert!(why.contains(expected), "{url}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn loopback_is_every_server_on_this_machine() {
        let is_loopback = |url: &str| parse(url).unwrap().is_loopback();
        assert!(is_loopback("localhost:1,127.0.0.2,[::1]/x"));
        assert!(!is_loopback("localhost,example.org/x") && !is_loopback("10.0.0.1/x"));
        assert_eq!(parse("localhost/x").unwrap().servers, ["localhost:2181"]);
    }
}
