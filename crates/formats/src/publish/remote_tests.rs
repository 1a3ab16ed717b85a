//! Publication in a bucket by a process that dies at any request, before or after that takes effect, and by another that
//! goes on.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use mapreduce_storage::Store;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path,
};

use super::*;
use crate::publish::Publication;

const MARK: &str = "job_7-ab";
/// Old content.
const OLD: [&str; 4] = ["_SUCCESS", "old/deep", "part-0", "part-9"];

/// A bucket as a process sees it that dies at one of its requests.
#[derive(Debug)]
struct Dying {
    store: Arc<InMemory>,
    /// Requests until then.
    left: AtomicI64,
    /// Whether the last one takes effect.
    effect: bool,
}

impl Dying {
    async fn request<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.left.fetch_sub(1, Relaxed) {
            1.. => work.await,
            0 if self.effect => work.await.and(Err(dead())),
            _ => Err(dead()),
        }
    }
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

#[async_trait]
impl ObjectStore for Dying {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.request(self.store.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.request(self.store.get_opts(path, options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // All at once, as buckets do it, by an action that dies between none and all of them.
        let (store, lives) = (self.store.clone(), self.left.fetch_sub(1, Relaxed) > 0);
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                match lives {
                    true => store.delete(path.as_ref().map_err(|_| dead())?).await.and(path),
                    false => Err(dead()),
                }
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.request(self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.request(self.store.copy_opts(from, to, options)).await
    }
}

fn dead() -> Error {
    Error::Generic { store: "test", source: "this process is dead".into() }
}

/// A bucket in which a job has written its parts, and its output perhaps had content before.
fn bucket(has_old: bool) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    let put = |path: String, content: String| {
        wait(async { store.put(&Path::from(path), Bytes::from(content).into()).await }).unwrap();
    };
    for name in OLD.iter().filter(|_| has_old) {
        put(format!("out/{name}"), "old".to_owned());
    }
    (0..3).for_each(|n| put(format!("out/_temporary/{MARK}/attempt-{n}"), format!("{n}")));
    put(format!("out/_temporary/{MARK}/lost"), "lost".to_owned());
    put("outside".to_owned(), "not ours".to_owned());
    store
}

fn content(store: &InMemory) -> BTreeMap<String, Vec<u8>> {
    let all = async {
        let files: Vec<ObjectMeta> = store.list(None).try_collect().await?;
        let mut content = BTreeMap::new();
        for file in files {
            let bytes = store.get(&file.location).await?.bytes().await?;
            content.insert(file.location.to_string(), bytes.to_vec());
        }
        Ok(content)
    };
    wait(all).unwrap()
}

fn publish(store: Store) -> std::result::Result<(), FormatError> {
    let directory = RemoteDirectory(Remote::of(store, "out"));
    let parts = (0..3).map(|n| (format!("attempt-{n}"), format!("part-{n}"))).collect();
    Publication { directory: &directory, mark: MARK.to_owned(), parts }.run(true)
}

#[test]
fn whoever_goes_on_ends_in_the_same_and_never_shows_a_part_of_it_as_complete() {
    let mut expected: BTreeMap<_, _> =
        (0..3).map(|n| (format!("out/part-{n}"), format!("{n}").into_bytes())).collect();
    expected.insert("out/_SUCCESS".to_owned(), MARK.as_bytes().to_vec());
    expected.insert("outside".to_owned(), b"not ours".to_vec());
    for (has_old, effect) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut lived = false;
        for requests in 0.. {
            let store = bucket(has_old);
            let dying = Dying { store: store.clone(), left: AtomicI64::new(requests), effect };
            lived = publish(Arc::new(dying)).is_ok();
            let found = content(&store);
            let mark = found.get("out/_SUCCESS").map(Vec::as_slice);
            let is_whole = expected.iter().all(|(name, content)| found.get(name) == Some(content));
            match mark {
                Some(b"job_7-ab") => assert!(is_whole, "after {requests}: {found:?}"),
                Some(_) => assert!(OLD.iter().all(|name| found.contains_key(&format!("out/{name}")))),
                None => {}
            }
            for _ in 0..2 {
                publish(store.clone()).unwrap();
                assert_eq!(content(&store), expected, "died at request {requests}, {effect}");
            }
            if lived {
                assert!(requests > 10, "{requests}");
                break;
            }
        }
        assert!(lived);
    }
}
