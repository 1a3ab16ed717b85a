//! The check that a master makes on every call. argon2 would cost tens of milliseconds each time; so a
//! password that was verified once is remembered, as a keyed hash, next to the version of the entry that it
//! was verified against. The entry itself is read on every check: a deleted user or a changed password acts
//! at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

use super::{UserError, UserRole, find, password};
use crate::{Coordinator, Version};

/// Checks names and passwords, fast the second time.
pub struct Authenticator {
    store: Arc<dyn Coordinator>,
    /// Made new in every process, so that what is remembered is worth nothing elsewhere.
    key: [u8; blake3::KEY_LEN],
    verified: Mutex<HashMap<String, Verified>>,
}

/// A password that was right.
#[derive(Clone, Copy)]
struct Verified {
    version: Version,
    password: [u8; blake3::OUT_LEN],
}

/// Shows no secrets.
impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Checks against the users in `store`.
    pub fn new(store: Arc<dyn Coordinator>) -> Result<Authenticator, UserError> {
        let mut key = [0; blake3::KEY_LEN];
        // A read of at most 256 bytes is never cut short by the kernel.
        getrandom(&mut key[..], GetRandomFlags::empty())
            .map_err(|error| UserError::NoRandomness { why: error.to_string() })?;
        Ok(Authenticator { store, key, verified: Mutex::default() })
    }

    /// What the user may do, if name and password are right at this moment.
    pub async fn check(&self, name: &str, password: &str) -> Result<UserRole, UserError> {
        let Some((user, version)) = find(&*self.store, name).await? else {
            self.verified().remove(name);
            return Err(UserError::UnknownUser { name: name.to_owned() });
        };
        let digest = *blake3::keyed_hash(&self.key, password.as_bytes()).as_bytes();
        let known = self.verified().get(name).copied().filter(|known| known.version == version);
        if known.is_some_and(|known| bool::from(known.password.ct_eq(&digest))) {
            return Ok(user.role);
        }
        password::verify(name, password, &user.password_hash).await?;
        self.verified().insert(name.to_owned(), Verified { version, password: digest });
        Ok(user.role)
    }

    fn verified(&self) -> MutexGuard<'_, HashMap<String, Verified>> {
        // A map of plain values is never half changed.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
