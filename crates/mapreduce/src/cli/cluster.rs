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

    pub fn credentials(&self) -> Result<Credentials> {
        Ok(Credentials::User { username: self.username.clone(), password: Self::password()? })
    }
}

/// A cluster on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// The cluster's directory; default: the local cluster that runs.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    pub user: User,
}

impl Cluster {
    /// The one cluster that is meant, after a check of the user.
    pub async fn find(&self) -> Result<ClusterUrls> {
        let running = home::running_clusters()?;
        let urls = match (&self.directory, running.as_slice()) {
            (Some(directory), running) => urls_of(directory, running)?,
            (None, [only]) => ClusterUrls::local(&only.directory, &only.users)?,
            (None, []) => return Err("no local cluster runs: name one by --directory".into()),
            (None, several) => {
                let directories: Vec<_> = several.iter().map(|c| c.directory.display().to_string()).collect();
                let list = directories.join(", ");
                return Err(format!("several local clusters run: name one by --directory: {list}").into());
            }
        };
        self.user.check(&urls.users).await?;
        Ok(urls)
    }

    /// The clusters that may be meant, after a check of the user for each: all that run, if none is named.
    pub async fn find_all(&self) -> Result<Vec<ClusterUrls>> {
        let running = home::running_clusters()?;
        let clusters = match &self.directory {
            Some(directory) => vec![urls_of(directory, &running)?],
            None => running
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
