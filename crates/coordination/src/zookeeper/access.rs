//! Keeping others out: what we write belongs to a name and password (ZooKeeper's scheme `digest`), and whoever does not
//! have them can neither read nor change it.
//!
//! The servers take every name and password for an identity; that one is wrong shows when it does not fit the nodes.
//! So the root is looked at when the store is opened. On the way to the servers the password is not encrypted.

use zookeeper_client::{Acl, Acls, Client, CreateMode, CreateOptions, Error, Permission};

use crate::remote::Place;

/// By what the nodes are kept from others.
#[derive(Clone)]
pub(super) struct Access {
    /// `user:password`; none on loopback only.
    login: Option<String>,
}

/// Never shows the password.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// What `place` says, else why there is no access.
    pub fn of(place: &Place) -> Result<Access, String> {
        Ok(Access { login: place.login()?.map(|login| format!("{}:{}", login.user, login.password)) })
    }

    pub fn login(&self) -> Option<&[u8]> {
        self.login.as_deref().map(str::as_bytes)
    }

    /// How a node is made.
    pub fn made(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(if self.login.is_some() { Acls::creator_all() } else { Acls::anyone_all() })
    }

    /// Makes the root and what is missing above it, and sees to it that it is ours.
    pub async fn open_root(&self, client: &Client, root: &str) -> Result<Root, Error> {
        let (synced, data, acl) =
            tokio::join!(client.sync(root), client.get_data(root), client.get_acl(root));
        synced?;
        let acl = match data.and(acl) {
            Err(Error::NoNode) => {
                client.mkdir(root, &self.made(CreateMode::Persistent)).await?;
                client.get_acl(root).await?.0
            }
            acl => acl?.0,
        };
        Ok(if self.login.is_some() && acl.iter().any(is_open) { Root::Open } else { Root::Ours })
    }
}

/// Whether it lets everybody change something.
fn is_open(acl: &Acl) -> bool {
    let changes = [Permission::CREATE, Permission::WRITE, Permission::DELETE, Permission::ADMIN];
    acl.scheme() == "world" && changes.iter().any(|change| acl.permission().has(*change))
}

/// What the root was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// There for us to use.
    Ours,
    /// Everybody may change it, although we have a password.
    Open,
}
