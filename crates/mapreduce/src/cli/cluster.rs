//! Which cluster a command is about, and who gives it.

use std::{env, path::PathBuf};

use crate::{
    ClusterUrls, Credentials,
    home::{self, RunningCluster},
    native::Session,
    urls::STORES,
};
use mapreduce_coordination::users::UserRegistry;

use super::Result;

/// Who gives a command. The password is never an argument: everybody on a machine can read those.
#[derive(Debug, clap::Args)]
pub(crate) struct User {
    /// Who you are; the password is taken from MAPREDUCE_PASSWORD, else it is "admin".
    #[arg(long, default_value = "admin", value_name = "NAME")]
    username: String,
}

impl User {
    fn password() -> Result<String> {
        match env::var("MAPREDUCE_PASSWORD") {
            Err(env::VarError::NotPresent) => Ok("admin".to_owned()),
            password => Ok(password.map_err(|_| "MAPREDUCE_PASSWORD is not UTF-8")?),
        }
    }

    /// Checks name and password against the users at `url`; needs no master.
    pub async fn check(&self, url: &str) -> Result {
        let users = mapreduce_coordination::open(url, None).await?;
        let registry = UserRegistry::open(users.clone()).await?;
        registry.authenticate(&self.username, &Self::password()?).await?;
        users.close().await;
        Ok(())
    }

    /// A connection to the cluster at `urls`.
    pub fn session(&self, urls: ClusterUrls) -> Result<Session> {
        Ok(Session::connect(urls, &self.username, &Self::password()?)?)
    }

    /// A connection to the cluster that has its coordination there.
    pub fn session_at(&self, coordination: &str) -> Result<Session> {
        Ok(Session::find(coordination, &self.username, &Self::password()?)?)
    }

    pub fn credentials(&self) -> Result<Credentials> {
        Ok(Credentials::User { username: self.username.clone(), password: Self::password()? })
    }
}

/// A cluster, of this machine or of others.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// The cluster's directory on this machine; default: the local cluster that runs.
    #[arg(long, value_name = "DIR", conflicts_with = "coordination")]
    directory: Option<PathBuf>,
    /// Where the cluster's coordination is, wherever its machines are, such as zookeeper://host:port/path?auth=/file.
    #[arg(long, value_name = "URL")]
    coordination: Option<String>,
    #[command(flatten)]
    pub user: User,
}

impl Cluster {
    /// The one cluster that is meant, after a check of the user.
    pub async fn find(&self) -> Result<ClusterUrls> {
        let urls = match &self.coordination {
            Some(url) => urls_at(url).await?,
            None => self.find_local()?,
        };
        self.user.check(&urls.users).await?;
        Ok(urls)
    }

    fn find_local(&self) -> Result<ClusterUrls> {
        let running = home::running_clusters()?;
        match (&self.directory, running.as_slice()) {
            (Some(directory), running) => urls_of(directory, running),
            (None, [only]) => Ok(ClusterUrls::local(&only.directory, &only.users)?),
            (None, []) => Err("no local cluster runs: name one by --directory or --coordination".into()),
            (None, several) => {
                let directories: Vec<_> = several.iter().map(|c| c.directory.display().to_string()).collect();
                let list = directories.join(", ");
                Err(format!("several local clusters run: name one by --directory: {list}").into())
            }
        }
    }

    /// The clusters that may be meant, after a check of the user for each: all that run, if none is named.
    pub async fn find_all(&self) -> Result<Vec<ClusterUrls>> {
        let running = home::running_clusters()?;
        let clusters = match (&self.coordination, &self.directory) {
            (Some(url), _) => vec![urls_at(url).await?],
            (None, Some(directory)) => vec![urls_of(directory, &running)?],
            (None, None) => running
                .iter()
                .map(|cluster| ClusterUrls::local(&cluster.directory, &cluster.users))
                .collect::<std::result::Result<_, _>>()?,
        };
        for urls in &clusters {
            self.user.check(&urls.users).await?;
        }
        Ok(clusters)
    }
}

/// The stores of the cluster that has its coordination at `url`. Its users are there, too, unless it is a local cluster's:
/// then they are this person's.
async fn urls_at(url: &str) -> Result<ClusterUrls> {
    let urls = ClusterUrls::find(url).await?;
    let coordinator = mapreduce_coordination::open(url, None).await?;
    let has_users = !coordinator.children("/users").await?.is_empty();
    coordinator.close().await;
    if has_users { Ok(urls) } else { Ok(ClusterUrls { users: home::users_url()?, ..urls }) }
}

/// The stores of the cluster in `directory`, which may run or may have been shut down.
fn urls_of(directory: &PathBuf, running: &[RunningCluster]) -> Result<ClusterUrls> {
    let directory = std::fs::canonicalize(directory)
        .map_err(|e| format!("no cluster in {}: {e}", directory.display()))?;
    // Looking must not make a cluster where there is none.
    if !["coordination.db", STORES].iter().any(|name| directory.join(name).exists()) {
        return Err(format!("{} is no cluster's directory", directory.display()).into());
    }
    let same =
        |cluster: &&RunningCluster| std::fs::canonicalize(&cluster.directory).is_ok_and(|d| d == directory);
    let users = match running.iter().find(same) {
        Some(cluster) => cluster.users.clone(),
        None => home::users_url()?,
    };
    Ok(ClusterUrls::local(&directory, users)?)
}
