//! Clusters whose masters and workers are started by hand, on several machines: each machine has a directory with what
//! its processes must know. [`init`] makes the first and the cluster with it, [`token`] and [`join`] the others.
//!
//! ```text
//! <directory>/        mode 0700
//!   stores.json       where coordination, storage and users are
//!   cluster.key       what workers show to masters
//!   ca.pem            the authority that signs masters' certificates
//!   ca.key            its key: only where masters may run
//!   coordination.auth the name and password for coordination, where it has one
//! ```

mod error;
mod init;
mod join;
mod token;

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use mapreduce_core::Secret;
use mapreduce_identity::Authority;

use self::error::io_error;
pub use self::{
    error::ByHandError,
    init::{InitOptions, init},
    join::{Joined, join},
    token::token,
};
use crate::{
    files::write_once,
    keeper::key_file,
    urls::{LOGIN, STORES},
};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// Every name above that may be in a directory beside what local clusters have.
pub(crate) const NAMES: [&str; 3] = [CA, CA_KEY, LOGIN];

/// The certificate, in PEM, of the authority of the cluster that `directory` is a part of, if it has one.
pub(crate) fn ca(directory: &Path) -> Result<Option<String>, ByHandError> {
    read_if_there(&directory.join(CA))
}

/// The authority itself, where masters may run.
pub(crate) fn authority(directory: &Path) -> Result<Option<Authority>, ByHandError> {
    let (certificate, key) = (ca(directory)?, read_if_there(&directory.join(CA_KEY))?);
    Ok(certificate.zip(key).map(|(certificate, key)| Authority { certificate, key: Secret::new(key) }))
}

fn read_if_there(path: &Path) -> Result<Option<String>, ByHandError> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        text => Ok(Some(text.map_err(io_error(path))?)),
    }
}

/// A machine's directory that is being made.
struct NewDirectory(PathBuf);

impl NewDirectory {
    /// Makes it, for its owner alone; one that is a cluster's already is refused.
    fn make(directory: &Path) -> Result<NewDirectory, ByHandError> {
        let directory = std::path::absolute(directory).map_err(io_error(directory))?;
        // Every URL and command line that names it is text.
        if directory.to_str().is_none() {
            let source = io::Error::new(ErrorKind::InvalidInput, "it is not UTF-8");
            return Err(ByHandError::Io { path: directory, source });
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(io_error(&directory))?;
        let taken = [STORES, CA, CA_KEY, LOGIN].map(|name| directory.join(name));
        match taken.into_iter().chain([key_file(&directory)]).find(|path| path.exists()) {
            Some(file) => Err(ByHandError::Taken { directory, file }),
            None => Ok(NewDirectory(directory)),
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), ByHandError> {
        match write_once(path, content).map_err(io_error(path))? {
            true => Ok(()),
            false => Err(ByHandError::Taken { directory: self.0.clone(), file: path.to_owned() }),
        }
    }

    fn write_named(&self, name: &str, content: &str) -> Result<(), ByHandError> {
        self.write(&self.0.join(name), content.as_bytes())
    }
}
