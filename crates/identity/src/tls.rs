//! How masters are spoken to: by TLS if their cluster has an authority, in plain text on loopback if it has none, and
//! never otherwise.

use std::{net::IpAddr, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use crate::{Authority, CertificateError, MASTER_NAME};
use mapreduce_core::ClusterId;

/// Why a master can't be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// What is said could be read and changed on the way.
    #[error(
        "the master at {address} is not on loopback, and its cluster has no certificates: make a cluster by `mapreduce \
         cluster init`, which has some"
    )]
    Plain {
        /// Where it listens.
        address: String,
    },
    /// It can't be an address, or the authority's certificate is none.
    #[error("the master at {address} can't be reached: {why}")]
    Bad {
        /// Where it should listen.
        address: String,
        /// What is wrong.
        why: String,
    },
}

/// The way to the master at `address`, `host:port`, of a cluster with this authority. Connecting takes no longer than
/// `patience`, twice.
pub fn endpoint(address: &str, ca: Option<&str>, patience: Duration) -> Result<Endpoint, NoWay> {
    let bad = |e: tonic::transport::Error| NoWay::Bad { address: address.to_owned(), why: e.to_string() };
    let endpoint = match ca {
        Some(ca) => {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(ca))
                .domain_name(MASTER_NAME)
                .timeout(patience);
            Endpoint::from_shared(format!("https://{address}")).and_then(|endpoint| endpoint.tls_config(tls))
        }
        None if is_loopback(address) => Endpoint::from_shared(format!("http://{address}")),
        None => return Err(NoWay::Plain { address: address.to_owned() }),
    };
    // Messages are small and answers waited for: held back for more, each would take 40 ms.
    Ok(endpoint.map_err(bad)?.tcp_nodelay(true).connect_timeout(patience))
}

/// Whether nobody but this machine can reach `address`, `host:port`.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// What a master of the cluster serves by, with a certificate of its own.
pub fn server(authority: &Authority, cluster: &ClusterId) -> Result<ServerTlsConfig, CertificateError> {
    let issued = authority.issue(cluster)?;
    Ok(ServerTlsConfig::new().identity(Identity::from_pem(issued.certificate, issued.key.reveal())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_and_nothing_else() {
        assert!(["127.0.0.1:7", "127.1.2.3:7", "[::1]:7", "localhost:7"].into_iter().all(is_loopback));
        assert!(
            !["10.0.0.1:7", "0.0.0.0:7", "[::]:7", "localhost.example.org:7", ""]
                .into_iter()
                .any(is_loopback)
        );
    }

    #[test]
    fn there_is_no_plain_way_off_this_machine() {
        let refused = endpoint("10.0.0.1:7", None, Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused, NoWay::Plain { address: "10.0.0.1:7".to_owned() });
        assert_eq!(
            endpoint("127.0.0.1:7", None, Duration::from_secs(1)).unwrap().uri().scheme_str(),
            Some("http")
        );
    }
}
