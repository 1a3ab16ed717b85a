//! A token is one machine's, once, for a while.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{sync::Arc, time::Duration};

use mapreduce_coordination::{Coordinator, memory::MemoryStore};
use mapreduce_core::{ClusterId, Role};
use mapreduce_identity::{Token, TokenError, redeem};

const NOW_MS: u64 = 1_700_000_000_000;
const LIFE: Duration = Duration::from_secs(60);

async fn made(store: &dyn Coordinator, role: Role) -> Token {
    let masters = vec!["host:7070".to_owned()];
    let ca = "a certificate".to_owned();
    Token::make(store, ClusterId::new(1), masters, ca, role, NOW_MS, LIFE).await.unwrap()
}

fn store() -> Arc<dyn Coordinator> {
    MemoryStore::default().open(None).unwrap()
}

#[tokio::test]
async fn of_many_who_have_it_one_joins() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().display());
    let store = mapreduce_coordination::open(&url, None).await.unwrap();
    let token = made(&*store, Role::Master).await;
    let contenders: Vec<_> = (0..8)
        .map(|_| {
            let (url, token) = (url.clone(), token.clone());
            tokio::spawn(async move {
                let store = mapreduce_coordination::open(&url, None).await.unwrap();
                redeem(&*store, &token.id, &token.secret, NOW_MS).await
            })
        })
        .collect();
    let mut roles = Vec::new();
    for contender in contenders {
        match contender.await.unwrap() {
            Ok(role) => roles.push(role),
            Err(error) => assert!(matches!(error, TokenError::Used), "{error}"),
        }
    }
    assert_eq!(roles, [Role::Master]);
}

#[tokio::test]
async fn it_must_be_right_and_in_time() {
    let store = store();
    let token = made(&*store, Role::Worker).await;
    let end_ms = NOW_MS + 60_000;
    let asked = async |id: &str, secret: &str, now_ms| redeem(&*store, id, secret, now_ms).await;
    assert!(matches!(asked(&token.id, "guessed", NOW_MS).await, Err(TokenError::Wrong)));
    assert!(matches!(asked("../cluster", &token.secret, NOW_MS).await, Err(TokenError::Used)));
    assert!(matches!(asked(&token.id, &token.secret, end_ms).await, Err(TokenError::Expired)));
    assert_eq!(asked(&token.id, &token.secret, end_ms - 1).await.unwrap(), Role::Worker);
    assert!(matches!(asked(&token.id, &token.secret, NOW_MS).await, Err(TokenError::Used)));
}

#[tokio::test]
async fn what_has_ended_goes_when_another_is_made() {
    let store = store();
    let (old, ended) = (made(&*store, Role::Worker).await, NOW_MS + 60_000);
    let new = Token::make(&*store, ClusterId::new(1), Vec::new(), String::new(), Role::Worker, ended, LIFE);
    let new = new.await.unwrap();
    assert_eq!(store.children("/tokens").await.unwrap(), [new.id]);
    assert!(matches!(redeem(&*store, &old.id, &old.secret, ended).await, Err(TokenError::Used)));
}

#[tokio::test]
async fn a_line_is_the_whole_token_or_none_and_nothing_else_shows_its_secret() {
    let store = store();
    let token = made(&*store, Role::Worker).await;
    let line = token.to_line();
    assert_eq!(Token::from_line(&format!(" {line}\n")).unwrap(), token);
    for cut in [&line[1..], &line[..line.len() - 1], "", "hello there"] {
        assert!(matches!(Token::from_line(cut), Err(TokenError::Garbled(_))), "{cut}");
    }
    assert!(!format!("{token:?}").contains(&token.secret));
    let kept = store.get(&format!("/tokens/{}", token.id)).await.unwrap().unwrap().value;
    assert!(!String::from_utf8_lossy(&kept).contains(&token.secret));
}
