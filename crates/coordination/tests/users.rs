//! Who may log in, and who may say so.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_coordination::{
    CoordinationError, Coordinator, Entry, Lifetime, Version,
    memory::MemoryStore,
    users::{Actor, Authenticator, UserError, UserRegistry, UserRole},
};
use tokio::sync::watch;

const ADMIN: Actor<'static> = Actor { name: "admin", password: "admin" };
const ADA: Actor<'static> = Actor { name: "ada", password: "lovelace" };

fn store() -> Arc<dyn Coordinator> {
    MemoryStore::default().open(None).unwrap()
}

/// The registry with the user `ada`, and an authenticator over the same store.
async fn with_ada() -> (UserRegistry, Authenticator) {
    let store = store();
    let users = UserRegistry::open(store.clone()).await.unwrap();
    users.create_user(ADMIN, ADA.name, ADA.password, UserRole::User).await.unwrap();
    (users, Authenticator::new(store).unwrap())
}

fn unknown(name: &str) -> UserError {
    UserError::UnknownUser { name: name.into() }
}
fn wrong(name: &str) -> UserError {
    UserError::WrongPassword { name: name.into() }
}

#[tokio::test]
async fn the_default_admin_is_made_once_and_keeps_a_changed_password() {
    let store = store();
    let (a, b) = tokio::join!(UserRegistry::open(store.clone()), UserRegistry::open(store.clone()));
    let (a, _) = (a.unwrap(), b.unwrap());
    assert_eq!(a.authenticate("admin", "admin").await, Ok(UserRole::Admin));
    assert_eq!(a.default_password_stands().await, Ok(true));
    a.change_password(ADMIN, "admin", "better").await.unwrap();
    let later = UserRegistry::open(store).await.unwrap();
    assert_eq!(later.default_password_stands().await, Ok(false));
    assert_eq!(later.authenticate("admin", "better").await, Ok(UserRole::Admin));
    assert_eq!(later.authenticate("admin", "admin").await, Err(wrong("admin")));
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_are_refused() {
    let (users, authenticator) = with_ada().await;
    assert_eq!(users.authenticate("ada", "lovelace").await, Ok(UserRole::User));
    for (name, password, refusal) in [
        ("bob", "x", unknown("bob")),
        ("ada", "Lovelace", wrong("ada")),
        ("ada", "", wrong("ada")),
        ("", "", unknown("")),
    ] {
        assert_eq!(users.authenticate(name, password).await, Err(refusal.clone()));
        assert_eq!(authenticator.check(name, password).await, Err(refusal));
    }
    assert_eq!(users.authenticate("../jobs/job_1", "x").await, Err(unknown("../jobs/job_1")));
}

#[tokio::test]
async fn only_an_admin_manages_users() {
    let (users, _) = with_ada().await;
    let refused = |outcome: Result<(), UserError>| matches!(outcome, Err(UserError::NotAdmin { actor, .. }) if actor == "ada");
    assert!(refused(users.create_user(ADA, "bob", "x", UserRole::Admin).await));
    assert!(refused(users.delete_user(ADA, "ada").await));
    assert!(refused(users.change_password(ADA, "admin", "x").await));
    let liar = Actor { name: "admin", password: "x" };
    assert_eq!(users.create_user(liar, "bob", "x", UserRole::User).await, Err(wrong("admin")));
    assert_eq!(users.delete_user(liar, "ada").await, Err(wrong("admin")));
    assert_eq!(users.change_password(liar, "ada", "x").await, Err(wrong("admin")));
    assert_eq!(users.authenticate("bob", "x").await, Err(unknown("bob")));
    assert_eq!(users.authenticate("ada", "lovelace").await, Ok(UserRole::User));

    users.create_user(ADMIN, "grace", "hopper", UserRole::Admin).await.unwrap();
    let grace = Actor { name: "grace", password: "hopper" };
    users.delete_user(grace, "ada").await.unwrap();
    assert_eq!(users.delete_user(grace, "ada").await, Err(unknown("ada")));
    assert_eq!(users.delete_user(grace, "admin").await, Err(UserError::DefaultAdminStays));
}

#[tokio::test]
async fn bad_users_are_not_made() {
    let (users, _) = with_ada().await;
    for name in ["", "a:b", "a/b", "a\nb", "\u{7f}"] {
        let outcome = users.create_user(ADMIN, name, "x", UserRole::User).await;
        assert!(matches!(outcome, Err(UserError::BadName { .. })), "{name:?}: {outcome:?}");
    }
    assert_eq!(users.create_user(ADMIN, "bob", "", UserRole::User).await, Err(UserError::EmptyPassword));
    assert_eq!(users.change_password(ADA, "ada", "").await, Err(UserError::EmptyPassword));
    let again = users.create_user(ADMIN, "ada", "x", UserRole::Admin).await;
    assert_eq!(again, Err(UserError::UserExists { name: "ada".into() }));
    assert_eq!(users.authenticate("ada", "lovelace").await, Ok(UserRole::User));
    users.create_user(ADMIN, "Zoë 🦀", "pass:wörd", UserRole::User).await.unwrap();
    assert_eq!(users.authenticate("Zoë 🦀", "pass:wörd").await, Ok(UserRole::User));
}

#[tokio::test]
async fn users_change_their_own_password() {
    let (users, _) = with_ada().await;
    let wrong_one = Actor { name: "ada", password: "x" };
    assert_eq!(users.change_password(wrong_one, "ada", "y").await, Err(wrong("ada")));
    users.change_password(ADA, "ada", "byron").await.unwrap();
    assert_eq!(users.authenticate("ada", "byron").await, Ok(UserRole::User));
    users.change_password(ADMIN, "ada", "reset").await.unwrap();
    assert_eq!(users.authenticate("ada", "reset").await, Ok(UserRole::User));
    assert_eq!(users.authenticate("ada", "byron").await, Err(wrong("ada")));
}

#[tokio::test]
async fn what_an_authenticator_remembers_ends_with_the_entry() {
    let (users, authenticator) = with_ada().await;
    for _ in 0..3 {
        assert_eq!(authenticator.check("ada", "lovelace").await, Ok(UserRole::User));
        assert_eq!(authenticator.check("ada", "x").await, Err(wrong("ada")));
    }
    users.change_password(ADA, "ada", "byron").await.unwrap();
    assert_eq!(authenticator.check("ada", "lovelace").await, Err(wrong("ada")));
    assert_eq!(authenticator.check("ada", "byron").await, Ok(UserRole::User));
    users.delete_user(ADMIN, "ada").await.unwrap();
    assert_eq!(authenticator.check("ada", "byron").await, Err(unknown("ada")));
    users.create_user(ADMIN, "ada", "new", UserRole::Admin).await.unwrap();
    assert_eq!(authenticator.check("ada", "byron").await, Err(wrong("ada")));
    assert_eq!(authenticator.check("ada", "new").await, Ok(UserRole::Admin));
}

/// A store that answers every read with one entry.
#[derive(Debug)]
struct OneEntry(Mutex<Entry>);

#[async_trait]
impl Coordinator for OneEntry {
    async fn create(&self, path: &str, _: Bytes, _: Lifetime) -> Result<Version, CoordinationError> {
        Err(CoordinationError::AlreadyExists { path: path.into() })
    }
    async fn get(&self, _: &str) -> Result<Option<Entry>, CoordinationError> {
        Ok(Some(self.0.lock().unwrap().clone()))
    }
    async fn set(&self, path: &str, _: Bytes, _: Version) -> Result<Version, CoordinationError> {
        Err(CoordinationError::Conflict { path: path.into() })
    }
    async fn delete(&self, path: &str, _: Version) -> Result<(), CoordinationError> {
        Err(CoordinationError::Conflict { path: path.into() })
    }
    async fn children(&self, _: &str) -> Result<Vec<String>, CoordinationError> {
        Ok(vec![])
    }
    fn watch(&self, _: &str) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
    fn session_lost(&self) -> watch::Receiver<bool> {
        watch::Sender::new(false).subscribe()
    }
    async fn close(&self) {}
}

/// The slow hash is computed once for each version of an entry: shown by an entry whose hash becomes another
/// while its version stays, which no real store would do.
#[tokio::test]
async fn a_password_is_hashed_once_for_each_version() {
    let store = store();
    let users = UserRegistry::open(store.clone()).await.unwrap();
    let before = store.get("/users/admin").await.unwrap().unwrap();
    users.change_password(ADMIN, "admin", "other").await.unwrap();
    let after = store.get("/users/admin").await.unwrap().unwrap();

    let one = Arc::new(OneEntry(Mutex::new(before.clone())));
    let authenticator = Authenticator::new(one.clone()).unwrap();
    assert_eq!(authenticator.check("admin", "admin").await, Ok(UserRole::Admin));
    *one.0.lock().unwrap() = Entry { value: after.value.clone(), version: before.version };
    assert_eq!(authenticator.check("admin", "admin").await, Ok(UserRole::Admin), "remembered");
    *one.0.lock().unwrap() = after;
    assert_eq!(authenticator.check("admin", "admin").await, Err(wrong("admin")), "no longer");
}

#[tokio::test]
async fn secrets_are_not_printed() {
    let (_, authenticator) = with_ada().await;
    authenticator.check("ada", "lovelace").await.unwrap();
    assert!(!format!("{authenticator:?} {ADA:?}").contains("lovelace"));
}

#[tokio::test]
async fn hashes_are_argon2id_as_recommended() {
    let store = store();
    UserRegistry::open(store.clone()).await.unwrap();
    let entry = store.get("/users/admin").await.unwrap().unwrap();
    let text = std::str::from_utf8(&entry.value).unwrap();
    assert!(text.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
}

#[tokio::test]
async fn a_registry_may_begin_with_an_admin_of_its_own() {
    let store = store();
    let users = UserRegistry::begin(store.clone(), "ada", "lovelace").await.unwrap();
    assert_eq!(users.authenticate("ada", "lovelace").await, Ok(UserRole::Admin));
    assert_eq!(users.default_password_stands().await, Ok(false));
    // What was cut short is done again; by nobody else.
    UserRegistry::begin(store.clone(), "ada", "lovelace").await.unwrap();
    let other = UserRegistry::begin(store.clone(), "ada", "byron").await;
    assert_eq!(other.unwrap_err(), wrong("ada"));
    UserRegistry::open(store).await.unwrap();
    assert_eq!(users.default_password_stands().await, Ok(false));
}
