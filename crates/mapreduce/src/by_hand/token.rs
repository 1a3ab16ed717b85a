//! `mapreduce cluster token`: one more machine may join.

use std::{path::Path, time::Duration};

use mapreduce_coordination::records;
use mapreduce_core::{Clock, Role, SystemClock};
use mapreduce_identity::{self as identity, Token};

use super::{ByHandError, authority, ca};
use crate::ClusterUrls;

/// A new token of the cluster that `directory` is a part of, for one machine that will run masters or workers. It names
/// the masters that are alive now.
pub async fn token(directory: &Path, role: Role, life: Duration) -> Result<Token, ByHandError> {
    let no_certificates = || ByHandError::NoCertificates { directory: directory.to_owned() };
    let ca = ca(directory)?.ok_or_else(no_certificates)?;
    if role == Role::Master && authority(directory)?.is_none() {
        return Err(ByHandError::NoAuthority { directory: directory.to_owned() });
    }
    let urls = ClusterUrls::local(directory, "")?;
    let record = identity::find(&urls.coordination).await?;
    identity::check_ca(&record, Some(&ca))?;
    let coordinator = mapreduce_coordination::open(&urls.coordination, None).await?;
    let masters = records::members(&*coordinator, Role::Master).await?;
    let masters: Vec<String> = masters.into_iter().filter_map(|master| master.address).collect();
    if masters.is_empty() {
        return Err(ByHandError::NoMaster { coordination: urls.coordination });
    }
    let now_ms = SystemClock::default().unix_ms();
    let made = Token::make(&*coordinator, record.id, masters, ca, role, now_ms, life).await?;
    coordinator.close().await;
    Ok(made)
}
