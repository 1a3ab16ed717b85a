//! `mapreduce cluster init`: a new cluster, and the first machine's directory.

use std::{fs, path::PathBuf, time::Duration};

use mapreduce_coordination::{
    SessionOptions,
    users::{DEFAULT_PASSWORD, UserRegistry},
};
use mapreduce_core::{ClusterId, Incarnation, Persisted, Role, Secret};
use mapreduce_identity::{self as identity, Authority, Stores as Open, auth_file, public_url};

use super::{ByHandError, CA, CA_KEY, NewDirectory, io_error};
use crate::{
    Stores,
    files::new_key,
    keeper::key_file,
    urls::{LOGIN, STORES},
};

/// For how long others wait for this process if it is stopped.
const LEASE: Duration = Duration::from_secs(2);

/// What a new cluster is made of.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The first machine's directory.
    pub directory: PathBuf,
    /// Who is alive, who owns which job, and who may log in.
    pub coordination: String,
    /// Input, map output, markers, results.
    pub storage: String,
    /// The first admin.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Makes a cluster in stores that no other one uses. What was cut short is done again with another directory and the same
/// password; once the cluster is there, it is an error.
pub async fn init(options: InitOptions) -> Result<ClusterId, ByHandError> {
    let InitOptions { directory, coordination, storage, username, password } = options;
    if password.reveal() == DEFAULT_PASSWORD {
        return Err(ByHandError::DefaultPassword(DEFAULT_PASSWORD));
    }
    let coordinator = mapreduce_coordination::open(&coordination, Some(session()?)).await?;
    let store = mapreduce_storage::open(&storage).map_err(identity::IdentityError::from)?;
    let stores =
        Open { coordinator: &*coordinator, coordination: &coordination, store: &store, storage: &storage };
    let id = stores.new_id().await.map_err(|error| match error {
        identity::IdentityError::Exists { coordination, cluster } => {
            ByHandError::Exists { coordination, cluster }
        }
        error => error.into(),
    })?;
    let directory = NewDirectory::make(&directory)?;
    UserRegistry::begin(coordinator.clone(), &username, password.reveal()).await?;

    let authority = Authority::new(&id)?;
    directory.write_named(CA, &authority.certificate)?;
    directory.write_named(CA_KEY, authority.key.reveal())?;
    let key = key_file(&directory.0);
    directory.write(&key, new_key().map_err(io_error(&key))?.as_bytes())?;
    let kept = match auth_file(&coordination) {
        // The directory may be taken elsewhere, where that file is not.
        Some(file) => {
            let login = fs::read_to_string(file).map_err(io_error(file))?;
            directory.write_named(LOGIN, login.trim())?;
            public_url(&coordination)
        }
        None => coordination.clone(),
    };
    let kept = Stores { coordination: Some(kept.clone()), storage: Some(storage.clone()), users: Some(kept) };
    directory.write(&directory.0.join(STORES), &kept.encode())?;
    // Last: from here on there is a cluster, and it has all that it needs.
    stores.begin_as(id.clone(), Some(authority.certificate)).await?;
    coordinator.close().await;
    Ok(id)
}

/// By which others who want to make a cluster there know that this process lives.
fn session() -> Result<SessionOptions, ByHandError> {
    let random = getrandom::u64().map_err(identity::IdentityError::Random)?;
    Ok(SessionOptions {
        incarnation: Incarnation::new(Role::Master, random),
        lease: LEASE,
        watch_others: true,
    })
}
