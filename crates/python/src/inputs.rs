//! What a job reads: one input, or several, each of which is files, an earlier job's result or records.

use std::collections::BTreeMap;

use mapreduce_core::{Content, InputDescription, JobId, JobSpec, Partitioning, Plan};
use mapreduce_executor::{SideInputs, map::sample};
use mapreduce_storage::{paths, read};
use pyo3::prelude::*;

use crate::{
    cluster::Live,
    files::InputFiles,
    raise::{StorageError, invalid},
    results,
    upload::{Check, Place, patiently, upload_records},
    user_code::PythonCode,
};

/// A job whose result is another job's input; see `mapreduce.read_result`.
#[derive(FromPyObject)]
struct EarlierJob {
    earlier_job_id: String,
}

/// Describes the inputs of `job`, and uploads those that are records, but for the smallest, which are added to
/// `contents`. `check` may end it.
pub fn describe(
    py: Python<'_>,
    live: &Live,
    job: JobId,
    inputs: &[Bound<'_, PyAny>],
    split_records: Option<u64>,
    contents: &mut BTreeMap<String, Content>,
    check: &Check<'_>,
) -> PyResult<Vec<InputDescription>> {
    let n_inputs =
        u32::try_from(inputs.len()).map_err(|_| invalid("there are too many inputs".to_owned()))?;
    let describe = |(number, input): (u32, &Bound<'_, PyAny>)| {
        if let Ok(files) = input.cast::<InputFiles>() {
            return Ok(files.get().0.clone());
        }
        if let Ok(earlier) = input.extract::<EarlierJob>() {
            return result_of(py, live, &earlier.earlier_job_id);
        }
        let place = Place { job, number, n_inputs };
        let (splits, small) = upload_records(live, place, input, split_records, check)?;
        contents.extend(small.map(|object| (object.name, Content(object.bytes.into()))));
        Ok(InputDescription::Uploaded { splits })
    };
    (0..).zip(inputs).map(describe).collect()
}

fn result_of(py: Python<'_>, live: &Live, job: &str) -> PyResult<InputDescription> {
    let of: JobId = job.parse().map_err(invalid)?;
    let plan: Option<Plan> = live.run(
        py,
        || async { read(live.client.store(), &paths::plan(of)).await },
        |e| StorageError::new_err(e.to_string()),
    )?;
    let plan =
        plan.ok_or_else(|| invalid(format!("{of} has no result: it was cleared, or never planned")))?;
    Ok(InputDescription::Result { of, n_partitions: plan.n_partitions })
}

/// Ranges of keys, from a sample of the inputs that is mapped here. Raises what the job would. `check` may end it.
pub fn sampled(
    py: Python<'_>,
    spec: &JobSpec,
    code: &[u8],
    storage_url: &str,
    check: &Check<'_>,
) -> PyResult<Partitioning> {
    // Here nobody needs the copies of side inputs again.
    let scratch = tempfile::tempdir()?;
    let resources = results::resources(storage_url, scratch.path().to_owned())?;
    let n_partitions = Plan::new(spec).n_partitions;
    patiently(py, spec.job, check, || {
        let mut code = PythonCode::load(spec, code, &SideInputs::new(spec, &resources))?;
        sample(code.as_mut(), (spec.job, &spec.inputs, &spec.contents), n_partitions, &resources)
    })
}
