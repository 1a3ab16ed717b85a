//! Tokens: one line that lets one machine join a cluster, once, for a while.
//!
//! ```text
//! line   base64url of the framed Token: where masters are, their authority's certificate, id and secret
//! coordination   /tokens/<id>   records::TokenRecord: the secret's hash, what may be run, until when
//! ```
//!
//! The joiner knows the masters by the authority's certificate, and they know the joiner by the secret; so nothing
//! that was not in the line need be trusted.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mapreduce_coordination::{
    Coordinator,
    records::{self, RecordError, TokenRecord},
};
use mapreduce_core::{ClusterId, DecodeError, Persisted, Role};
use serde::{Deserialize, Serialize};

/// Why somebody can't join.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or a part of one.
    #[error(
        "that is no token, or not a whole one ({0}): copy the line that `mapreduce cluster token` printed"
    )]
    Garbled(String),
    /// Nobody knows it, any more.
    #[error("the token was used already, or ended long ago: make another by `mapreduce cluster token`")]
    Used,
    /// It was not used in time.
    #[error("the token has expired: make another by `mapreduce cluster token`")]
    Expired,
    /// Its id is right, and its secret is not.
    #[error("the token is wrong: make another by `mapreduce cluster token`")]
    Wrong,
    /// Coordination can't be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The system gave no random numbers.
    #[error("no randomness for a token: {0}")]
    Random(getrandom::Error),
}

/// What the line says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The cluster.
    pub cluster: ClusterId,
    /// Where its masters listened when the token was made, `host:port`.
    pub masters: Vec<String>,
    /// Their authority's certificate, in PEM.
    pub ca: String,
    /// The token's name.
    pub id: String,
    /// What its bearer shows.
    pub secret: String,
}

impl Persisted for Token {
    const KIND: &'static str = "token";
    const VERSION: u32 = 1;
}

/// Never shows the secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("cluster", &self.cluster).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Token {
    /// A new one, which coordination knows from now on for `life`.
    pub async fn make(
        coordinator: &dyn Coordinator,
        cluster: ClusterId,
        masters: Vec<String>,
        ca: String,
        role: Role,
        now_ms: u64,
        life: Duration,
    ) -> Result<Token, TokenError> {
        records::remove_tokens(coordinator, now_ms).await?;
        let mut random = [0u8; 40];
        getrandom::fill(&mut random).map_err(TokenError::Random)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let token = Token { cluster, masters, ca, id: hex(&random[..8]), secret: hex(&random[8..]) };
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let hash = blake3::hash(token.secret.as_bytes()).to_hex().to_string();
        let record = TokenRecord { hash, role, expires_at_ms: now_ms.saturating_add(life_ms) };
        records::create_token(coordinator, &token.id, &record).await?;
        Ok(token)
    }

    /// The line.
    pub fn to_line(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode())
    }

    /// What the line says.
    pub fn from_line(line: &str) -> Result<Token, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(line.trim()).map_err(|e| TokenError::Garbled(e.to_string()))?;
        Token::decode(&bytes).map_err(|e: DecodeError| TokenError::Garbled(e.to_string()))
    }
}

/// Uses up the token of this name: what its bearer may run, if the secret is right.
pub async fn redeem(
    coordinator: &dyn Coordinator,
    id: &str,
    secret: &str,
    now_ms: u64,
) -> Result<Role, TokenError> {
    let (record, version) = records::token(coordinator, id).await?.ok_or(TokenError::Used)?;
    // Hashes are compared in constant time.
    if blake3::Hash::from_hex(&record.hash).ok() != Some(blake3::hash(secret.as_bytes())) {
        return Err(TokenError::Wrong);
    }
    if record.expires_at_ms <= now_ms {
        return Err(TokenError::Expired);
    }
    match records::take_token(coordinator, id, version).await? {
        true => Ok(record.role),
        false => Err(TokenError::Used),
    }
}
