//! A glob, name by name, so that only directories that it may lead into are listed.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::FormatError;

/// The part of a glob from the first name that has a special character. It is walked as an automaton, whose
/// states are the names' indices; the state behind the last name means everything below a matched directory.
pub(super) struct Names(Vec<Name>);

enum Name {
    /// `**`
    AnyDirectories,
    /// A name, or a pattern of names.
    One {
        matcher: GlobMatcher,
        /// Whether it spells out a `_` or `.` at the beginning.
        hidden: bool,
    },
}

impl Names {
    /// Everything in and below a directory.
    pub(super) fn all() -> Self {
        Names(Vec::new())
    }

    /// The directory in which `path` begins to be a pattern, and the names from there. `pattern` is what the
    /// user gave, for errors.
    pub(super) fn parse(pattern: &str, path: &Path) -> Result<(PathBuf, Self), FormatError> {
        let is_special =
            |name: &&std::ffi::OsStr| name.to_string_lossy().contains(['*', '?', '[', ']', '{', '}', '\\']);
        let base: PathBuf = path.iter().take_while(|name| !is_special(name)).collect();
        let names = path.iter().skip_while(|name| !is_special(name));
        let names = names.map(|name| Name::parse(pattern, &name.to_string_lossy()));
        Ok((base, Names(names.collect::<Result<_, _>>()?)))
    }

    /// The states of the directory to begin with.
    pub(super) fn start(&self) -> Vec<usize> {
        self.closure(vec![0])
    }

    /// From a directory in `states` to its entry `name`: the entry's states if it is a directory, and whether
    /// it is meant if it is a file.
    pub(super) fn step(&self, states: &[usize], name: &str) -> (Vec<usize>, bool) {
        let is_hidden = name.starts_with(['_', '.']);
        let mut next = Vec::new();
        for &state in states {
            match self.0.get(state) {
                None | Some(Name::AnyDirectories) if !is_hidden => next.push(state),
                Some(Name::One { matcher, hidden }) if (*hidden || !is_hidden) && matcher.is_match(name) => {
                    next.push(state + 1);
                }
                _ => {}
            }
        }
        // `**` alone stands for directories; if it is the last name, the state behind it is among `states`.
        let accepted = next.contains(&self.0.len());
        (self.closure(next), accepted)
    }

    /// `**` may stand for no directory at all.
    fn closure(&self, mut states: Vec<usize>) -> Vec<usize> {
        let mut at = 0;
        while let Some(&state) = states.get(at) {
            if matches!(self.0.get(state), Some(Name::AnyDirectories)) && !states.contains(&(state + 1)) {
                states.push(state + 1);
            }
            at += 1;
        }
        states
    }
}

impl Name {
    fn parse(pattern: &str, name: &str) -> Result<Self, FormatError> {
        if name == "**" {
            return Ok(Name::AnyDirectories);
        }
        let glob = GlobBuilder::new(name).literal_separator(true).build().map_err(|error| {
            let why = format!("{}; braces and brackets stand within one name", error.kind());
            FormatError::Pattern { pattern: pattern.to_owned(), why }
        })?;
        Ok(Name::One { matcher: glob.compile_matcher(), hidden: name.starts_with(['_', '.']) })
    }
}
