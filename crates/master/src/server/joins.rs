//! Machines that join: what a master tells whoever has a token, and nobody else.

use std::{fs, sync::Arc};

use mapreduce_core::{Clock, Role, Secret, SystemClock};
use mapreduce_identity::{Authority, TokenError, auth_file, public_url, redeem};
use mapreduce_rpc::{
    WIRE_VERSION,
    control::{JoinReply, JoinRequest, joins_server::Joins},
    headers::check_version,
};
use tonic::{Request, Response, Status};

use crate::{MasterOptions, incarnation::Handle};

pub(super) struct Service {
    pub(super) handle: Handle,
    pub(super) told: Arc<Told>,
}

/// What a machine must know that joins.
pub(crate) struct Told {
    coordination: String,
    storage: String,
    users: String,
    cluster_key: Secret,
    authority: Authority,
}

impl Told {
    pub(crate) fn of(options: &MasterOptions, authority: &Authority) -> Told {
        Told {
            coordination: options.coordination.clone(),
            storage: public_url(&options.storage),
            users: options.users.clone(),
            cluster_key: options.cluster_key.clone(),
            authority: authority.clone(),
        }
    }

    fn reply(&self, role: Role, login: String) -> JoinReply {
        let ca_key = match role {
            Role::Master => self.authority.key.reveal().to_owned(),
            Role::Worker => String::new(),
        };
        JoinReply {
            role: role.name().to_owned(),
            coordination: public_url(&self.coordination),
            login,
            storage: self.storage.clone(),
            users: if self.users == self.coordination { String::new() } else { self.users.clone() },
            cluster_key: self.cluster_key.reveal().to_owned(),
            ca_key,
        }
    }
}

#[tonic::async_trait]
impl Joins for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        check_version(request.metadata(), WIRE_VERSION)?;
        let JoinRequest { token, secret } = request.into_inner();
        // Before the token is used up: what can't be read now can't be told.
        let login = match auth_file(&self.told.coordination) {
            Some(file) => fs::read_to_string(file).map_err(|e| {
                Status::unavailable(format!("this master can't read {}: {e}", file.display()))
            })?,
            None => String::new(),
        };
        let now_ms = SystemClock::default().unix_ms();
        let role = match redeem(&*self.handle.0.coordinator, &token, &secret, now_ms).await {
            Ok(role) => role,
            Err(e @ TokenError::Record(_)) => return Err(Status::unavailable(e.to_string())),
            Err(e) => {
                tracing::warn!("somebody could not join: {e}");
                return Err(Status::permission_denied(e.to_string()));
            }
        };
        tracing::info!("a machine has joined that may run a {}", role.name());
        Ok(Response::new(self.told.reply(role, login.trim().to_owned())))
    }
}
