//! Buckets: S3, Google Cloud Storage and Azure, through the clients that come with [`object_store`].
//!
//! Their stores create exclusively when they are asked with `If-None-Match: *`, and show at once what was written. A store
//! that only looks like S3 may ignore that header: [`crate::probe`] finds out. A request that got no answer is sent again
//! by the client, for as long as [`PATIENCE`]; a create that was made by the first of two such requests is told from
//! another's by reading it ([`crate::create`]).

use std::{fs, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    path::Path,
    prefix::PrefixStore,
};
use url::{Host, Url};

use crate::Store;

/// How long a request that was not answered, or was told to come back later, is sent again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take, a part of 8 MiB included.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The options that a URL may have.
#[derive(Debug, Default)]
struct Options {
    /// Where the store is, if not where its company runs it.
    endpoint: Option<Url>,
    /// The file that holds the key's id and the key, with a colon between.
    auth: Option<PathBuf>,
}

/// Opens the bucket that `url` names: `s3://bucket/path`, `gs://bucket/path` or `az://container/path`. Nothing is sent yet.
/// Errors are sentences for [`crate::StorageError::Url`].
pub(crate) fn open(url: &Url) -> Result<Store, String> {
    let path = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(open_bucket(url)?, path)))
}

/// Opens the whole bucket.
pub(crate) fn open_bucket(url: &Url) -> Result<Store, String> {
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or("it names no bucket")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a key has no place in a URL: name the file that holds it by ?auth=/absolute/file".into());
    }
    let options = Options::of(url)?;
    // Another part of this process may have chosen one: then that one serves here, too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |error: object_store::Error| error.to_string();
    Ok(match url.scheme() {
        "s3" => Arc::new(s3(bucket, &options)?.build().map_err(failed)?),
        _ if options.endpoint.is_some() || options.auth.is_some() => {
            return Err(
                "?endpoint and ?auth are options of s3 only; the rest comes from the environment".into()
            );
        }
        "gs" => {
            let bucket = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(bucket.with_client_options(client(false)).with_retry(retry()).build().map_err(failed)?)
        }
        _ => {
            let container = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(
                container.with_client_options(client(false)).with_retry(retry()).build().map_err(failed)?,
            )
        }
    })
}

fn s3(bucket: &str, options: &Options) -> Result<AmazonS3Builder, String> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry());
    let from_env = endpoint_of_environment(&builder)?;
    let endpoint = options.endpoint.as_ref().or(from_env.as_ref());
    let mut may_be_plain = false;
    if let Some(endpoint) = endpoint {
        may_be_plain = endpoint.scheme() == "http";
        if may_be_plain && !is_loopback(endpoint) {
            return Err(format!(
                "{endpoint} is neither https nor loopback: keys and data would cross the network in clear"
            ));
        }
        let url = endpoint.as_str().trim_end_matches('/');
        // The first goes before the second.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, url).with_endpoint(url);
    }
    if let Some(file) = &options.auth {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let (id, key) = (text.trim().split_once(':')).ok_or_else(|| {
            format!("{} must hold the key's id and the key, with a colon between", file.display())
        })?;
        builder = builder.with_access_key_id(id).with_secret_access_key(key);
    }
    // Amazon's own machines are given keys by their network; nobody else's are, and there it would be asked in vain.
    if endpoint.is_some() && !has_key(&builder) {
        return Err("there is no key for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name the file that holds \
                    the key's id and the key by ?auth=/absolute/file"
            .into());
    }
    Ok(builder.with_client_options(client(may_be_plain)))
}

fn endpoint_of_environment(builder: &AmazonS3Builder) -> Result<Option<Url>, String> {
    let names = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let url = names.iter().find_map(|name| builder.get_config_value(name));
    let endpoint = url.map(|url| endpoint_at(&url)).transpose();
    endpoint.map_err(|why| format!("AWS_ENDPOINT_URL in the environment is {why}"))
}

fn endpoint_at(url: &str) -> Result<Url, String> {
    let endpoint = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    match endpoint.scheme() {
        "http" | "https" => Ok(endpoint),
        _ => Err(format!("{url} is neither http nor https")),
    }
}

fn has_key(builder: &AmazonS3Builder) -> bool {
    use AmazonS3ConfigKey::*;
    let is_set = |key| builder.get_config_value(&key).is_some_and(|value| !value.is_empty());
    let unsigned = builder.get_config_value(&SkipSignature).is_some_and(|value| value == "true");
    let sources =
        [AccessKeyId, WebIdentityTokenFile, ContainerCredentialsRelativeUri, ContainerCredentialsFullUri];
    unsigned || sources.into_iter().any(is_set)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

fn client(may_be_plain: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(may_be_plain)
        .with_timeout(ANSWER_MAX)
        .with_connect_timeout(CONNECT_MAX)
}

fn retry() -> RetryConfig {
    // Time ends it: with the client's own pauses so many tries take far longer.
    RetryConfig { retry_timeout: PATIENCE, max_retries: 100, ..RetryConfig::default() }
}

impl Options {
    fn of(url: &Url) -> Result<Options, String> {
        let mut options = Options::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "endpoint" => {
                    let endpoint = endpoint_at(&value).map_err(|why| format!("?endpoint={why}"))?;
                    options.endpoint = Some(endpoint);
                }
                "auth" if value.starts_with('/') => options.auth = Some(PathBuf::from(&*value)),
                _ => {
                    return Err(format!(
                        "?{name}={value} is no option of it; there are ?endpoint=http://host:port and ?auth=/absolute/file"
                    ));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str) -> String {
        open(&Url::parse(url).unwrap()).unwrap_err()
    }

    #[test]
    fn what_can_not_be_a_bucket_says_why() {
        assert!(why("s3:///path").contains("names no bucket"));
        assert!(why("s3://id:key@bucket/path").contains("?auth=/absolute/file"));
        assert!(why("s3://bucket/path?colour=red").contains("?colour=red is no option"));
        assert!(why("s3://bucket/path?endpoint=ftp://host").contains("neither http nor https"));
        assert!(why("s3://bucket/path?endpoint=http://192.0.2.1:80").contains("in clear"));
        assert!(why("s3://bucket/path?endpoint=https://192.0.2.1").contains("set AWS_ACCESS_KEY_ID"));
        assert!(why("s3://bucket/path?auth=/nowhere/at/all").contains("/nowhere/at/all"));
        assert!(why("gs://bucket/path?auth=/file").contains("options of s3 only"));
        let malformed = tempfile::NamedTempFile::new().unwrap();
        fs::write(&malformed, "no colon").unwrap();
        let said = why(&format!("s3://bucket/path?auth={}", malformed.path().display()));
        assert!(said.contains("with a colon between") && !said.contains("no colon\""), "{said}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "someone:wonderful-secret\n").unwrap();
        let url = format!("s3://bucket/path?endpoint=http://127.0.0.1:1&auth={}", file.path().display());
        let store = open(&Url::parse(&url).unwrap()).unwrap();
        assert!(!format!("{store} {store:?}").contains("wonderful-secret"));
    }
}
