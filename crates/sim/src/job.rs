//! The jobs of a simulation, drawn from the seed: input, user code and settings; and the client that brings them.

use std::{collections::BTreeMap, num::NonZeroU64, time::Duration};

use mapreduce_coordination::records;
use mapreduce_core::{CodeRef, InputDescription, JobId, JobPhase, JobRecord, JobSpec, Settings};
use mapreduce_storage::{
    StorageError, paths, put_file,
    splits::{SplitSize, SplitWriter, upload},
};
use tokio::time::{sleep, timeout};

use crate::{
    process::Process,
    user_code::Behaviour,
    world::{Service, World},
};

/// A job, and what is known of it beforehand.
#[derive(Debug, Clone)]
pub(crate) struct SimJob {
    pub(crate) spec: JobSpec,
    /// The key of each record, by the record's number.
    pub(crate) keys: Vec<u8>,
}

/// The ids of all jobs that a simulation may have.
pub(crate) fn all() -> [JobId; 2] {
    [JobId(1), JobId(2)]
}

/// How large a job is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) n_splits: u64,
    pub(crate) n_partitions: u32,
}

impl SimJob {
    /// A job drawn from the world's randomness.
    pub(crate) fn draw(world: &World, job: JobId) -> SimJob {
        let size = Size { n_splits: 1 + world.draw(6), n_partitions: 1 + world.draw(3) as u32 };
        let sometimes = |n| if world.draw(4) == 0 { n } else { 0 };
        let behaviour = Behaviour {
            padding: [0, 0, 300, 6000][world.draw(4) as usize],
            combines: world.draw(2) == 0,
            raises: sometimes(100),
            hangs: sometimes(40),
            slow_ms: [1, 30, 300][world.draw(3) as usize],
        };
        let settings = Settings {
            requested_n_workers: (world.draw(4) == 0).then_some(1),
            retry_exceptions: true,
            max_attempts: 2 + world.draw(4) as u32,
            task_timeout_ms: (behaviour.hangs > 0).then_some(2000),
            ..Settings::default()
        };
        SimJob::new(world, job, size, behaviour, settings)
    }

    /// A job of this size.
    pub(crate) fn new(
        world: &World,
        job: JobId,
        size: Size,
        behaviour: Behaviour,
        settings: Settings,
    ) -> SimJob {
        let per_split = 3;
        let keys: Vec<u8> = (0..size.n_splits * per_split).map(|_| b'a' + world.draw(6) as u8).collect();
        let one = NonZeroU64::new(per_split).unwrap_or(NonZeroU64::MIN);
        let mut writer = SplitWriter::new(0, SplitSize::Exactly(one));
        let records = keys.iter().enumerate().map(|(n, key)| format!("{}{n}", char::from(*key)));
        let mut objects: Vec<_> = records.filter_map(|record| writer.push(record.as_bytes())).collect();
        let (last, splits) = writer.finish();
        objects.extend(last);
        let code = serde_json::to_vec(&behaviour).unwrap_or_default();
        let digest = blake3::hash(&code).to_hex().to_string();
        let store = world.disk().store();
        let uploaded = async {
            for object in objects {
                upload(&store, job, object).await?;
            }
            put_file(&store, &paths::code(job, &digest), code.into()).await?;
            Ok::<_, StorageError>(())
        };
        if let Err(e) = futures::executor::block_on(uploaded) {
            world.violate(format_args!("the world can't begin: {e}"));
        }
        let spec = JobSpec {
            job,
            user: "ada".to_owned(),
            code: CodeRef::Python { digest },
            inputs: vec![InputDescription::Uploaded { splits }],
            side_inputs: BTreeMap::new(),
            contents: BTreeMap::new(),
            output: None,
            settings: Settings { n_partitions: Some(size.n_partitions), ..settings },
            submitted_at_ms: 0,
        };
        SimJob { spec, keys }
    }
}

/// A client that submits the job until it hears that it was, and may submit it again afterwards.
pub(crate) async fn submit(world: &World, client: &Process, spec: &JobSpec, n_times: u64) {
    let mut submitted = 0;
    while submitted < n_times {
        sleep(world.draw_ms(1, 100)).await;
        let masters: Vec<_> = world.state().masters.values().cloned().collect();
        let Some((master, handle)) = masters.get(world.draw(masters.len() as u64) as usize).cloned() else {
            continue;
        };
        if client.call(Service::Network, format!("-> {}", master.name()), || ()).await.is_err() {
            continue;
        }
        // As in the server, the master goes on when its client has hung up; it dies only with its process.
        let (spec, at) = (spec.clone(), master.clone());
        let submit = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = at.death() => false,
                done = handle.submit(spec) => done.is_ok(),
            }
        });
        let done = timeout(Duration::from_secs(10), submit).await;
        let is_heard = client.call(Service::Network, format!("<- {}", master.name()), || ()).await.is_ok();
        if is_heard && matches!(done, Ok(Ok(true))) {
            submitted += 1;
        }
    }
}

/// Asks for the job to be cancelled, as the server does.
pub(crate) async fn cancel(world: &World, job: JobId) {
    world.state().cancelled.insert(job);
    let Ok(coordinator) = world.coordination().open(None) else { return };
    while let Ok(Some((record, version))) = records::job(coordinator.as_ref(), job).await {
        if record.phase.is_terminal() || record.phase == JobPhase::Publish || record.cancel {
            return;
        }
        let wanted = JobRecord { cancel: true, ..record.clone() };
        let cancelled = records::update_job(coordinator.as_ref(), &(record, version), &wanted).await;
        if cancelled.is_ok() {
            world.changed("/jobs");
            world.note("client", format_args!("cancels {job}"));
            return;
        }
    }
}
