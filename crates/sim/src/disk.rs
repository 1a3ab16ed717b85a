//! The storage of the simulation: a disk whose file system has one journal, like those of Linux. A write that was answered
//! is durable, and so is every one that took effect before it. When the power fails, of those after the last that was
//! answered the first few are there, or none. What the protocol forbids is noticed as it happens.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};

use crate::{
    laws,
    process::{Lost, Process},
    world::{Service, World},
};

const STORE: &str = "simulated disk";

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    objects: Arc<InMemory>,
    /// Writes that took effect and were not answered yet: what was there before them.
    unsynced: Mutex<Vec<Unsynced>>,
}

#[derive(Debug)]
struct Unsynced {
    number: u64,
    path: Path,
    before: Option<Bytes>,
}

impl Disk {
    /// What lies at `path`.
    pub(crate) fn read(&self, path: &Path) -> Option<Bytes> {
        let read = async { self.objects.get(path).await.ok()?.bytes().await.ok() };
        read.now_or_never().flatten()
    }

    /// The names of all that is below `prefix`.
    pub(crate) fn list(&self, prefix: &Path) -> Vec<Path> {
        let listed =
            self.objects.list(Some(prefix)).filter_map(|object| async { Some(object.ok()?.location) });
        listed.collect::<Vec<_>>().now_or_never().unwrap_or_default()
    }

    /// Without faults, for those who are outside of the simulation.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.objects.clone()
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<Unsynced>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that has taken effect is durable: something that came after it is, elsewhere on the same disk.
    pub(crate) fn sync(&self) {
        self.unsynced().clear();
    }

    /// Of the writes that are not durable yet, some of the last are undone; `draw` draws how many of so many stay.
    pub(crate) fn lose_power(&self, draw: impl FnOnce(usize) -> usize) {
        let mut unsynced = std::mem::take(&mut *self.unsynced());
        let n_kept = draw(unsynced.len());
        for Unsynced { path, before, .. } in unsynced.drain(n_kept..).rev() {
            match before {
                Some(bytes) => drop(self.objects.put(&path, bytes.into()).now_or_never()),
                None => drop(self.objects.delete(&path).now_or_never()),
            }
        }
    }
}

/// The storage as one process reaches it.
#[derive(Clone)]
pub(crate) struct SimStore {
    process: Process,
}

impl SimStore {
    /// A store, as everybody else has one.
    pub(crate) fn of(process: &Process) -> Arc<dyn ObjectStore> {
        Arc::new(SimStore { process: process.clone() })
    }

    fn world(&self) -> &World {
        self.process.world()
    }

    async fn call<T: Send + 'static>(
        &self,
        what: String,
        effect: impl FnOnce(&World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let world = self.world().clone();
        match self.process.call(Service::Storage, what, move || effect(&world)).await {
            Ok(done) => done,
            Err(Lost::Refused) => Err(Error::Generic { store: STORE, source: "refused".into() }),
            Err(Lost::Unknown) => Err(Error::Generic { store: STORE, source: "no answer".into() }),
        }
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE} of {}", self.process.name())
    }
}

/// Of a store in memory, whose every future is ready at once.
fn now<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    future
        .now_or_never()
        .unwrap_or(Err(Error::NotImplemented { operation: "waiting".into(), implementer: STORE.into() }))
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (process, at) = (self.process.clone(), path.clone());
        let n = self.world().draw(u64::MAX);
        let put = self.call(format!("put {path}"), move |world| {
            if world.state().is_disk_full {
                return Err(Error::Generic {
                    store: STORE,
                    source: io::Error::from(io::ErrorKind::StorageFull).into(),
                });
            }
            let disk = world.disk();
            let before = disk.read(&at);
            let bytes: Bytes = payload.clone().into();
            if opts.mode == PutMode::Create && before.is_some() {
                return now(disk.objects.put_opts(&at, payload, opts));
            }
            laws::written(&process, &at, before.as_ref(), &bytes);
            disk.unsynced().push(Unsynced { number: n, path: at.clone(), before });
            now(disk.objects.put_opts(&at, payload, opts))
        });
        let done = put.await;
        if done.is_ok() {
            let mut unsynced = self.world().disk().unsynced();
            let synced = unsynced.iter().position(|unsynced| unsynced.number == n);
            unsynced.drain(..synced.map_or(0, |at| at + 1));
        }
        done
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "large files".into(), implementer: STORE.into() })
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let (process, at) = (self.process.clone(), path.clone());
        let (what, wants_bytes) = (format!("get {path}"), !options.head);
        let mut found =
            self.call(what, move |world| now(world.disk().objects.get_opts(&at, options))).await?;
        if !wants_bytes {
            return Ok(found);
        }
        let (meta, range) = (found.meta.clone(), found.range.clone());
        let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
        found.range = range.clone();
        let mut bytes = found.bytes().await?;
        let flipped = self.world().state().rates.get(&Service::Storage).map_or(0, |rates| rates.flipped);
        if !bytes.is_empty() && self.world().chance(flipped) {
            let mut damaged = bytes.to_vec();
            let at = self.world().draw(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << self.world().draw(8);
            self.world().note(self.process.name(), format_args!("reads {path} with a flipped bit"));
            self.world().state().n_damaged += 1;
            bytes = damaged.into();
        }
        laws::read(&process, path, &bytes);
        let payload = GetResultPayload::Stream(futures::stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Result<Path>| {
            let store = store.clone();
            async move {
                let path = path?;
                let (process, at) = (store.process.clone(), path.clone());
                let deleted = store.call(format!("delete {path}"), move |world| {
                    laws::deleted(&process, &at);
                    world.disk().objects.delete(&at).now_or_never().transpose().map(drop)
                });
                deleted.await.map(|()| path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let what = format!("list {}", prefix.clone().unwrap_or_default());
            laws::listed(&store.process, prefix.as_ref());
            let list = move |world: &World| {
                let all = world.disk().objects.list(prefix.as_ref()).collect::<Vec<_>>().now_or_never();
                Ok(all.unwrap_or_default())
            };
            let all = store.call(what, list).await.unwrap_or_else(|error| vec![Err(error)]);
            futures::stream::iter(all)
        };
        listed.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "directories".into(), implementer: STORE.into() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copying".into(), implementer: STORE.into() })
    }
}
