//! `mapreduce cluster join`: one more machine's directory, made of what a master says.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use mapreduce_core::{ClusterId, Persisted, Role};
use mapreduce_identity::{Token, endpoint};
use mapreduce_rpc::{
    control::{JoinReply, JoinRequest, joins_client::JoinsClient},
    headers::attach_version,
    parse,
};
use tonic::Request;

use super::{ByHandError, CA, CA_KEY, NewDirectory};
use crate::{
    Stores,
    client::with_sources,
    keeper::key_file,
    urls::{LOGIN, STORES},
};

/// How long one master may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// What a machine has become a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The cluster.
    pub cluster: ClusterId,
    /// What may be started here: workers, or masters, too.
    pub role: Role,
}

/// Makes `directory` a part of the token's cluster. The token is used up when a master has answered.
pub async fn join(token: &Token, directory: &Path) -> Result<Joined, ByHandError> {
    let directory = NewDirectory::make(directory)?;
    let (address, reply) = ask(token).await?;
    let bad = |why: String| ByHandError::Refused { address: address.clone(), why };
    let role: Role = parse(&reply.role).map_err(|e| bad(e.to_string()))?;
    if !reply.login.is_empty() {
        directory.write_named(LOGIN, &reply.login)?;
    }
    directory.write_named(CA, &token.ca)?;
    directory.write(&key_file(&directory.0), reply.cluster_key.as_bytes())?;
    if role == Role::Master {
        directory.write_named(CA_KEY, &reply.ca_key)?;
    }
    let users = if reply.users.is_empty() { reply.coordination.clone() } else { reply.users };
    let (coordination, storage, users) = (Some(reply.coordination), Some(reply.storage), Some(users));
    // Last: as long as it is missing, nothing can be started.
    directory.write(&directory.0.join(STORES), &Stores { coordination, storage, users }.encode())?;
    Ok(Joined { cluster: token.cluster.clone(), role })
}

/// Asks one master after the other, until one has answered.
async fn ask(token: &Token) -> Result<(String, JoinReply), ByHandError> {
    let (mut tried, began) = (Vec::new(), Instant::now());
    for address in &token.masters {
        let channel = match endpoint(address, Some(&token.ca), CONNECT_TIMEOUT) {
            Ok(endpoint) => endpoint.timeout(ANSWER_TIMEOUT).connect().await.map_err(|e| with_sources(&e)),
            Err(e) => Err(e.to_string()),
        };
        let channel = match channel {
            Ok(channel) => channel,
            Err(why) => {
                tried.push(format!("{address}: {why}"));
                continue;
            }
        };
        let message = JoinRequest { token: token.id.clone(), secret: token.secret.clone() };
        let mut request = Request::new(message);
        attach_version(&mut request);
        // Once it was asked, the token may be used up: no other master is.
        return match JoinsClient::new(channel).join(request).await {
            Ok(reply) => Ok((address.clone(), reply.into_inner())),
            Err(status) => {
                Err(ByHandError::Refused { address: address.clone(), why: status.message().to_owned() })
            }
        };
    }
    let (cluster, tried) = (token.cluster.clone(), tried.join("; "));
    Err(ByHandError::Unreachable { cluster, waited: began.elapsed(), tried })
}
