//! Users: who may log in, and who may change that.

use mapreduce::home;
use mapreduce_coordination::users::{Actor, UserError, UserRegistry};
use pyo3::prelude::*;

use crate::{
    raise::{ClusterError, user_error},
    runtime::block_on,
};

/// What the user may do, `admin` or `user`.
#[pyfunction]
pub fn login(
    py: Python<'_>,
    users: Option<String>,
    username: &str,
    password: &str,
) -> PyResult<&'static str> {
    authenticate(py, users, username, password)
}

/// Adds a user.
#[pyfunction]
pub fn create_user(
    py: Python<'_>,
    users: Option<String>,
    actor: &str,
    actor_password: &str,
    username: &str,
    password: &str,
    role: &str,
) -> PyResult<()> {
    let actor = Actor { name: actor, password: actor_password };
    with_registry(py, users, async |registry| {
        registry.create_user(actor, username, password, role.parse()?).await
    })
}

/// Removes a user.
#[pyfunction]
pub fn delete_user(
    py: Python<'_>,
    users: Option<String>,
    actor: &str,
    actor_password: &str,
    username: &str,
) -> PyResult<()> {
    let actor = Actor { name: actor, password: actor_password };
    with_registry(py, users, async |registry| {
        registry.delete_user(actor, username).await.map_err(|e| about(e, username, actor))
    })
}

/// Gives a user another password.
#[pyfunction]
pub fn change_password(
    py: Python<'_>,
    users: Option<String>,
    actor: &str,
    actor_password: &str,
    username: &str,
    password: &str,
) -> PyResult<()> {
    let actor = Actor { name: actor, password: actor_password };
    with_registry(py, users, async |registry| {
        registry.change_password(actor, username, password).await.map_err(|e| about(e, username, actor))
    })
}

/// A user that isn't there is a bad argument if it is the one to be changed, and a failed login if it is the one
/// who asks.
fn about(error: UserError, username: &str, actor: Actor<'_>) -> UserError {
    match error {
        UserError::UnknownUser { name } if name == username && name != actor.name => {
            UserError::BadName { name, why: "there is no such user" }
        }
        error => error,
    }
}

/// What the user may do; an exception that says which when name or password are wrong.
pub fn authenticate(
    py: Python<'_>,
    users: Option<String>,
    username: &str,
    password: &str,
) -> PyResult<&'static str> {
    with_registry(py, users, async |registry| Ok(registry.authenticate(username, password).await?.name()))
}

/// Opens the registry, at the home's URL unless another is given, and does one thing with it.
fn with_registry<T: Send>(
    py: Python<'_>,
    users: Option<String>,
    action: impl AsyncFnOnce(&UserRegistry) -> Result<T, UserError> + Send,
) -> PyResult<T> {
    let users = match users {
        Some(users) => users,
        None => home::users_url().map_err(|e| ClusterError::new_err(e.to_string()))?,
    };
    let done = block_on(py, || async move {
        let store = mapreduce_coordination::open(&users, None).await?;
        let done = match UserRegistry::open(store.clone()).await {
            Ok(registry) => action(&registry).await,
            Err(e) => Err(e),
        };
        store.close().await;
        done
    })?;
    done.map_err(user_error)
}
