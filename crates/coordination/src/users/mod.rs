//! Who may use a cluster: `/users/<name>` in a coordination store of its own, because a person has one name
//! in all clusters. [`UserRegistry`] manages the users, [`Authenticator`] checks every call of every client.

mod authenticator;
mod error;
mod password;

use std::sync::Arc;

use mapreduce_core::Persisted;
use serde::{Deserialize, Serialize};

pub use authenticator::Authenticator;
pub use error::UserError;

use crate::{
    CoordinationError, Coordinator, Lifetime, Version,
    records::{RecordError, Write, read},
};

/// The user that every registry starts with; it can't be deleted, so that somebody can always manage the rest.
pub const DEFAULT_ADMIN: &str = "admin";
/// The default admin's first password. Nobody but this machine may be let in while it stands.
pub const DEFAULT_PASSWORD: &str = "admin";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Everything, managing users included.
    Admin,
    /// Everything but managing users.
    User,
}

impl UserRole {
    /// `admin` or `user`.
    pub fn name(self) -> &'static str {
        match self {
            UserRole::Admin => "admin",
            UserRole::User => "user",
        }
    }
}

impl std::str::FromStr for UserRole {
    type Err = UserError;
    fn from_str(text: &str) -> Result<Self, UserError> {
        match text {
            "admin" => Ok(UserRole::Admin),
            "user" => Ok(UserRole::User),
            _ => Err(UserError::BadRole { role: text.to_owned() }),
        }
    }
}

/// `/users/<name>`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    role: UserRole,
    /// argon2id, in the PHC string format.
    password_hash: String,
}

impl Persisted for User {
    const KIND: &'static str = "user";
    const VERSION: u32 = 1;
}

/// Who asks for a change of the users.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    /// The name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
}

/// Names the actor and never the password, so that it may be logged.
impl std::fmt::Debug for Actor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Actor({:?})", self.name)
    }
}

/// The users, and who may change them.
#[derive(Debug, Clone)]
pub struct UserRegistry {
    store: Arc<dyn Coordinator>,
}

impl UserRegistry {
    /// The registry in `store`. The first to open it makes the default admin.
    pub async fn open(store: Arc<dyn Coordinator>) -> Result<UserRegistry, UserError> {
        if find(&*store, DEFAULT_ADMIN).await?.is_none() {
            let admin = User {
                role: UserRole::Admin,
                password_hash: password::hash(DEFAULT_ADMIN, DEFAULT_PASSWORD).await?,
            };
            let write = Write::Create(admin.encode().into(), Lifetime::Durable);
            match write.apply(&*store, &path(DEFAULT_ADMIN)).await {
                Ok(_) | Err(CoordinationError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(UserRegistry { store })
    }

    /// The registry in `store`, which nobody has used yet, with this admin. Nobody knows the password of the default admin
    /// if that is another one. Done again, it must be with the same password.
    pub async fn begin(
        store: Arc<dyn Coordinator>,
        name: &str,
        password: &str,
    ) -> Result<UserRegistry, UserError> {
        check_name(name)?;
        check_password(password)?;
        let mut random = [0u8; 32];
        getrandom::fill(&mut random).map_err(|e| UserError::NoRandomness { why: e.to_string() })?;
        let unknown: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        for (name, password) in [(name, password), (DEFAULT_ADMIN, &unknown)] {
            let admin = User { role: UserRole::Admin, password_hash: password::hash(name, password).await? };
            let write = Write::Create(admin.encode().into(), Lifetime::Durable);
            match write.apply(&*store, &path(name)).await {
                Ok(_) | Err(CoordinationError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let registry = UserRegistry { store };
        let actor = Actor { name, password };
        registry.require_admin(actor, || "make a cluster".to_owned()).await?;
        Ok(registry)
    }

    /// What the user may do, if name and password are right.
    pub async fn authenticate(&self, name: &str, password: &str) -> Result<UserRole, UserError> {
        let (user, _) = self.existing(name).await?;
        password::verify(name, password, &user.password_hash).await?;
        Ok(user.role)
    }

    /// Makes a user.
    pub async fn create_user(
        &self,
        actor: Actor<'_>,
        name: &str,
        password: &str,
        role: UserRole,
    ) -> Result<(), UserError> {
        self.require_admin(actor, || format!("create user {name:?}")).await?;
        check_name(name)?;
        check_password(password)?;
        let user = User { role, password_hash: password::hash(name, password).await? };
        let write = Write::Create(user.encode().into(), Lifetime::Durable);
        match write.apply(&*self.store, &path(name)).await {
            Err(CoordinationError::AlreadyExists { .. }) => {
                Err(UserError::UserExists { name: name.to_owned() })
            }
            outcome => Ok(outcome.map(|_| ())?),
        }
    }

    /// Removes a user, who is refused from this moment on.
    pub async fn delete_user(&self, actor: Actor<'_>, name: &str) -> Result<(), UserError> {
        self.require_admin(actor, || format!("delete user {name:?}")).await?;
        if name == DEFAULT_ADMIN {
            return Err(UserError::DefaultAdminStays);
        }
        loop {
            let (_, version) = self.existing(name).await?;
            match Write::Delete(version).apply(&*self.store, &path(name)).await {
                Err(CoordinationError::Conflict { .. }) => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }

    /// Gives a user another password: users for themselves, an admin for everybody.
    pub async fn change_password(&self, actor: Actor<'_>, name: &str, new: &str) -> Result<(), UserError> {
        check_password(new)?;
        loop {
            // The new password replaces just the entry that was looked at: on a conflict all is asked again.
            let (user, version) = self.existing(name).await?;
            if actor.name == name {
                password::verify(name, actor.password, &user.password_hash).await?;
            } else {
                self.require_admin(actor, || format!("change the password of {name:?}")).await?;
            }
            let changed = User { password_hash: password::hash(name, new).await?, ..user };
            match Write::Set(changed.encode().into(), version).apply(&*self.store, &path(name)).await {
                Err(CoordinationError::Conflict { .. }) => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }

    /// Whether the default admin still has the password that everybody knows.
    pub async fn default_password_stands(&self) -> Result<bool, UserError> {
        match self.authenticate(DEFAULT_ADMIN, DEFAULT_PASSWORD).await {
            Ok(_) => Ok(true),
            Err(UserError::WrongPassword { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn existing(&self, name: &str) -> Result<(User, Version), UserError> {
        find(&*self.store, name).await?.ok_or_else(|| UserError::UnknownUser { name: name.to_owned() })
    }

    async fn require_admin(
        &self,
        actor: Actor<'_>,
        action: impl FnOnce() -> String,
    ) -> Result<(), UserError> {
        match self.authenticate(actor.name, actor.password).await? {
            UserRole::Admin => Ok(()),
            UserRole::User => Err(UserError::NotAdmin { actor: actor.name.to_owned(), action: action() }),
        }
    }
}

fn path(name: &str) -> String {
    format!("/users/{name}")
}

/// The user's entry. A name that no user can have is a user that isn't there.
async fn find(store: &dyn Coordinator, name: &str) -> Result<Option<(User, Version)>, RecordError> {
    if check_name(name).is_err() {
        return Ok(None);
    }
    read(store, &path(name)).await
}

fn check_name(name: &str) -> Result<(), UserError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.contains(':') {
        "it holds a colon, which separates name and password on the wire"
    } else if name.contains('/') {
        "it holds a slash"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    Err(UserError::BadName { name: name.to_owned(), why })
}

fn check_password(password: &str) -> Result<(), UserError> {
    if password.is_empty() { Err(UserError::EmptyPassword) } else { Ok(()) }
}
