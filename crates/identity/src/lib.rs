//! Which cluster a process belongs to, and by what its parts know each other.
//!
//! Coordination and storage must be the same cluster's:
//!
//! ```text
//! coordination   /cluster   id, the storage's URL, CA    records::ClusterRecord
//! storage        cluster    id, the coordination's URL   storage::Claim
//! ```
//!
//! Both are made once, by whoever comes first, in this order; so a claim without its record tells of another cluster or
//! of coordination that was lost, and never of a race.
//!
//! A cluster that was made for several machines has an [`Authority`], whose certificates masters are known by ([`endpoint`],
//! [`server`]); machines join it by a [`Token`].

mod certificates;
mod error;
mod tls;
mod token;
mod trial;

pub use certificates::{Authority, CertificateError, MASTER_NAME, MasterCertificate};
pub use error::IdentityError;
use error::{of_claim, of_record};
pub use tls::{NoWay, endpoint, is_loopback, server};
pub use token::{Token, TokenError, redeem};

use std::path::Path;

use mapreduce_coordination::{
    CoordinationError, Coordinator, Version,
    records::{self, ClusterRecord, RecordError},
};
use mapreduce_core::ClusterId;
use mapreduce_storage::{self as storage, Claim, StorageError, Store};
use url::Url;

/// Two stores, open, and where they are.
#[derive(Debug, Clone, Copy)]
pub struct Stores<'a> {
    /// Coordination.
    pub coordinator: &'a dyn Coordinator,
    /// Its URL.
    pub coordination: &'a str,
    /// Storage.
    pub store: &'a Store,
    /// Its URL.
    pub storage: &'a str,
}

/// Which cluster the stores belong to; a new one, if they are new and keep the rules that the protocol stands on. An error
/// if they don't belong together. The coordinator needs a session, by which others know that this process lives while it
/// tries the stores.
pub async fn identify(stores: Stores<'_>) -> Result<ClusterRecord, IdentityError> {
    loop {
        if let Some(record) = stores.look().await? {
            return Ok(record);
        }
    }
}

/// Which cluster has its coordination there, for somebody who is not a part of it: nothing is made or changed.
pub async fn find(coordination: &str) -> Result<ClusterRecord, IdentityError> {
    let nobody = || IdentityError::NoCluster { coordination: public_url(coordination) };
    // To open a store makes it.
    let url = public_url(coordination);
    let directory = url.strip_prefix("sqlite://");
    if directory.is_some_and(|directory| !Path::new(directory).join("coordination.db").exists()) {
        return Err(nobody());
    }
    let coordinator = mapreduce_coordination::open(coordination, None).await.map_err(RecordError::from)?;
    let record = records::cluster(&*coordinator).await;
    coordinator.close().await;
    let (record, _) = record.map_err(of_record(coordination))?.ok_or_else(nobody)?;
    let is_here = match Url::parse(&record.storage).ok().filter(|url| url.scheme() == "file") {
        Some(url) => url.to_file_path().is_ok_and(|directory| directory.exists()),
        None => true,
    };
    let claim = match is_here {
        true => storage::claim(&storage::open(&record.storage)?).await.map_err(of_claim(&record.storage))?,
        false => None,
    };
    if claim.is_none_or(|claim| claim.cluster != record.id) {
        return Err(IdentityError::NotHere {
            storage: record.storage,
            cluster: record.id,
            coordination: public_url(coordination),
        });
    }
    Ok(record)
}

impl Stores<'_> {
    /// One look at both, and the next step if there is one to be made before it is known which cluster this is.
    async fn look(self) -> Result<Option<ClusterRecord>, IdentityError> {
        // In this order: who has made a claim has made its record before.
        let claim = storage::claim(self.store).await.map_err(of_claim(self.storage))?;
        let record = records::cluster(self.coordinator).await.map_err(of_record(self.coordination))?;
        let same_place = record.as_ref().is_some_and(|(record, _)| is_same(&record.storage, self.storage));
        match (record, claim) {
            (Some((record, _)), Some(claim)) if record.id == claim.cluster && same_place => Ok(Some(record)),
            (Some((record, version)), Some(claim)) if record.id == claim.cluster => {
                self.moved(record, version).await?;
                Ok(None)
            }
            (_, Some(claim)) => Err(self.taken(claim)),
            (Some((record, _)), None) if same_place => Ok(self.claim(&record).await?.then_some(record)),
            (Some((record, _)), None) => Err(IdentityError::OtherStorage {
                coordination: public_url(self.coordination),
                cluster: record.id,
                theirs: record.storage,
                ours: public_url(self.storage),
            }),
            (None, None) => {
                let storage = public_url(self.storage);
                let record = ClusterRecord { id: random_id()?, storage, ca: None };
                if self.are_local() {
                    self.create(&record).await?
                } else {
                    _ = self.begin(Some(&record)).await?
                }
                Ok(None)
            }
        }
    }

    /// The id of a cluster that is to be made in these stores; an error if there is one in either, or if one of them does
    /// not keep the rules that the protocol stands on. The coordinator needs a session, as for [`identify`].
    pub async fn new_id(self) -> Result<ClusterId, IdentityError> {
        loop {
            let claim = storage::claim(self.store).await.map_err(of_claim(self.storage))?;
            if let Some((record, _)) =
                records::cluster(self.coordinator).await.map_err(of_record(self.coordination))?
            {
                let coordination = public_url(self.coordination);
                return Err(IdentityError::Exists { coordination, cluster: record.id });
            }
            if let Some(claim) = claim {
                return Err(self.taken(claim));
            }
            if self.begin(None).await? {
                return random_id();
            }
        }
    }

    /// Makes the cluster with this id and authority; an error if somebody else was faster.
    pub async fn begin_as(self, id: ClusterId, ca: Option<String>) -> Result<ClusterRecord, IdentityError> {
        let wanted = ClusterRecord { id, storage: public_url(self.storage), ca };
        self.create(&wanted).await?;
        let found = identify(self).await?;
        match found == wanted {
            true => Ok(found),
            false => {
                let coordination = public_url(self.coordination);
                Err(IdentityError::Exists { coordination, cluster: found.id })
            }
        }
    }

    async fn create(self, record: &ClusterRecord) -> Result<(), IdentityError> {
        match records::create_cluster(self.coordinator, record).await {
            // Somebody else was faster, and theirs is looked at next.
            Ok(_) | Err(RecordError::Coordination(CoordinationError::AlreadyExists { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn taken(self, claim: Claim) -> IdentityError {
        IdentityError::StorageTaken {
            storage: public_url(self.storage),
            cluster: claim.cluster,
            theirs: claim.coordination,
            ours: public_url(self.coordination),
        }
    }

    async fn claim(self, record: &ClusterRecord) -> Result<bool, StorageError> {
        let coordination = public_url(self.coordination);
        storage::make_claim(self.store, &Claim { cluster: record.id.clone(), coordination }).await
    }

    /// The storage is where it was not before: its directory was moved, or the cluster's was copied. Whoever asks the
    /// record must find this one.
    async fn moved(self, record: ClusterRecord, version: Version) -> Result<(), IdentityError> {
        tracing::info!("the storage of {} is {} now, not {}", record.id, self.storage, record.storage);
        let record = ClusterRecord { storage: public_url(self.storage), ..record };
        match records::update_cluster(self.coordinator, &record, version).await {
            Ok(_) | Err(RecordError::Coordination(CoordinationError::Conflict { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn random_id() -> Result<ClusterId, IdentityError> {
    Ok(ClusterId::new(getrandom::u64().map_err(IdentityError::Random)?))
}

/// An error unless the authority that a process was told, if any, is the cluster's.
pub fn check_ca(record: &ClusterRecord, told: Option<&str>) -> Result<(), IdentityError> {
    match told {
        Some(ca) if record.ca.as_deref() != Some(ca) => {
            Err(IdentityError::OtherAuthority { cluster: record.id.clone() })
        }
        _ => Ok(()),
    }
}

/// The file with the name and password for the store at `url`, if it needs them.
pub fn auth_file(url: &str) -> Option<&Path> {
    let (_, options) = url.split_once('?').filter(|_| !url.starts_with("sqlite://"))?;
    options.split('&').find_map(|option| option.strip_prefix("auth=")).map(Path::new)
}

/// Whether two URLs name the same storage, as far as URLs can tell.
fn is_same(a: &str, b: &str) -> bool {
    let bare = |url| public_url(url).trim_end_matches('/').to_owned();
    bare(a) == bare(b)
}

/// A store's URL as other processes may be told it: without what is one process's own business, the path of a file with a
/// password and whether to sync.
pub fn public_url(url: &str) -> String {
    // The path of SQLite's is taken as it is written, `?` and all.
    if url.starts_with("sqlite://") {
        return url.strip_suffix("?sync=no").unwrap_or(url).to_owned();
    }
    let Some((place, options)) = url.split_once('?') else { return url.to_owned() };
    let is_private = |option: &&str| ["auth=", "sync="].iter().any(|name| option.starts_with(name));
    let public: Vec<&str> = options.split('&').filter(|option| !is_private(option)).collect();
    if public.is_empty() { place.to_owned() } else { format!("{place}?{}", public.join("&")) }
}
