//! argon2id with the parameters that OWASP recommends (19 MiB, 2 passes, 1 lane). It is slow on purpose,
//! so it runs off the async threads, and only so often at one time that strangers can't fill the memory.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{self, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::UserError;

static SLOTS: Semaphore = Semaphore::const_new(2);

/// What a hash may ask for at most: 48 MiB, 10 passes, 4 lanes. It names its own parameters, and a damaged one would
/// take all the memory there is, or never end.
const MOST: (u32, u32, u32) = (48 << 10, 10, 4);

/// The password's hash with a fresh salt, in the PHC string format. `name` is for the error.
pub(super) async fn hash(name: &str, password: &str) -> Result<String, UserError> {
    let password = password.to_owned();
    let hashed = slowly(move || {
        let params = Params::new(19_456, 2, 1, None).map_err(password_hash::Error::from)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(argon2.hash_password(password.as_bytes())?.to_string())
    });
    hashed.await.map_err(|why| UserError::Hash { name: name.to_owned(), why: why.to_string() })
}

/// Whether `password` is the one that `hash` was made of.
pub(super) async fn verify(name: &str, password: &str, hash: &str) -> Result<(), UserError> {
    let (password, hash) = (password.to_owned(), hash.to_owned());
    // The parameters are the hash's own, so hashes outlive a change of ours.
    let verified = slowly(move || {
        let hash = PasswordHash::new(&hash).map_err(password_hash::Error::from)?;
        let params = Params::try_from(&hash)?;
        if params.m_cost() > MOST.0 || params.t_cost() > MOST.1 || params.p_cost() > MOST.2 {
            return Err(password_hash::Error::ParamsInvalid);
        }
        Argon2::default().verify_password(password.as_bytes(), &hash)
    });
    verified.await.map_err(|why| match why {
        password_hash::Error::PasswordInvalid => UserError::WrongPassword { name: name.to_owned() },
        why => UserError::Hash { name: name.to_owned(), why: why.to_string() },
    })
}

async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> password_hash::Result<T> + Send + 'static,
) -> password_hash::Result<T> {
    // The semaphore is never closed; if it were, the work would only be less limited.
    let _slot = SLOTS.acquire().await;
    spawn_blocking(work).await.unwrap_or(Err(password_hash::Error::Internal))
}
