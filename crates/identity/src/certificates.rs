//! The cluster's own certificate authority, and the certificates that it signs for masters.
//!
//! All masters have the same name, which is no host's: it says that this is a master of the cluster whose authority has
//! signed it, wherever it runs. So no host names are needed, nor anybody else's authority. Nothing expires: a certificate
//! lives as long as its master, and who must not be a master any more takes the authority's key along anyway.

use mapreduce_core::{ClusterId, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// The name in every master's certificate.
pub const MASTER_NAME: &str = "mapreduce-master";

/// A certificate could not be made; the library's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate can be made: {0}; is ca.key the file that `mapreduce cluster init` made?")]
pub struct CertificateError(String);

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        CertificateError(error.to_string())
    }
}

/// What signs the certificates of a cluster's masters. Whoever has it can be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its own certificate, in PEM; no secret.
    pub certificate: String,
    /// Its private key, in PEM.
    pub key: Secret,
}

/// A master's certificate, and what proves that it is the master's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterCertificate {
    /// In PEM.
    pub certificate: String,
    /// Its private key, in PEM.
    pub key: Secret,
}

impl Authority {
    /// A new one.
    pub fn new(cluster: &ClusterId) -> Result<Authority, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate = own_params(cluster).self_signed(&key)?;
        Ok(Authority { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    }

    /// A certificate for a master of the cluster.
    pub fn issue(&self, cluster: &ClusterId) -> Result<MasterCertificate, CertificateError> {
        let issuer = Issuer::new(own_params(cluster), KeyPair::from_pem(self.key.reveal())?);
        let mut params = CertificateParams::new([MASTER_NAME.to_owned()])?;
        params.distinguished_name = name(&format!("a master of {cluster}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(MasterCertificate { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
    }
}

fn own_params(cluster: &ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("the authority of {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "mapreduce");
    name.push(DnType::CommonName, text);
    name
}
