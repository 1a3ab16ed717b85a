//! What a user asks for: the job specification, written once by its submission.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Compression, Content, FileFormat, FileRange, InputFile, JobId, Persisted, Split};

/// Everything that a job's tasks need to know, written once to `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The job; also its idempotency key: submitting the same job with another spec is an error.
    pub job: JobId,
    /// Who submitted it.
    pub user: String,
    /// The user's functions.
    pub code: CodeRef,
    /// The data: one input, or several, each with a map function of its own. Map tasks are numbered from split to
    /// split and from input to input.
    pub inputs: Vec<InputDescription>,
    /// What the functions read beside their records: by name the BLAKE3 of the content, hexadecimal, whose object is
    /// `side/<digest>`. What Python broadcasts has its digest for a name.
    pub side_inputs: BTreeMap<String, String>,
    /// Objects of the job that are so small that they are here instead, by their names below the job's directory:
    /// code and uploaded records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Content>,
    /// Where the results go; none: to the client.
    pub output: Option<OutputDescription>,
    /// How to run it.
    pub settings: Settings,
    /// When, in milliseconds since 1970.
    pub submitted_at_ms: u64,
}

impl JobSpec {
    /// How many map tasks there are.
    pub fn n_splits(&self) -> usize {
        self.inputs.iter().map(InputDescription::n_splits).sum()
    }
}

impl Persisted for JobSpec {
    const KIND: &'static str = "spec";
    const VERSION: u32 = 4;
}

/// The user's functions, below `code/` of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "language")]
pub enum CodeRef {
    /// What `mapreduce/_code.py` makes of the functions, with cloudpickle.
    Python {
        /// BLAKE3 of the pickle, hexadecimal; its object is `code/<digest>`.
        digest: String,
    },
    /// A program that is the executor of the job's tasks; see `mapreduce::native`.
    Native {
        /// BLAKE3 of the executable, hexadecimal; its object is `code/<digest>`.
        digest: String,
    },
    /// Shell commands that map and reduce lines.
    Commands {
        /// BLAKE3 of the [`Commands`] as JSON, hexadecimal; their object is `code/<digest>`.
        digest: String,
    },
}

/// A job of any programs that read lines and write lines, as in Hadoop Streaming: `key<TAB>value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// Reads records, one a line, and writes pairs.
    pub mapper: String,
    /// Reads pairs sorted by key, and writes the result's lines.
    pub reducer: String,
}

impl CodeRef {
    /// BLAKE3 of the code object, hexadecimal.
    pub fn digest(&self) -> &str {
        match self {
            CodeRef::Python { digest } | CodeRef::Native { digest } | CodeRef::Commands { digest } => digest,
        }
    }
}

/// Where the data of one input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum InputDescription {
    /// Records the client uploaded below `input/` of the job, already cut into splits.
    Uploaded {
        /// In the order of the data.
        splits: Vec<Split>,
    },
    /// Files, as they were when the job was submitted.
    Files {
        /// What they hold.
        format: FileFormat,
        /// All of them.
        files: Vec<InputFile>,
        /// The ranges of each map task.
        splits: Vec<Vec<FileRange>>,
    },
    /// The result of an earlier job of the same cluster; a record is one of its pairs.
    Result {
        /// Which.
        of: JobId,
        /// Its partitions: each is one map task's.
        n_partitions: u32,
    },
}

impl InputDescription {
    /// How many map tasks read it.
    pub fn n_splits(&self) -> usize {
        match self {
            InputDescription::Uploaded { splits } => splits.len(),
            InputDescription::Files { splits, .. } => splits.len(),
            InputDescription::Result { n_partitions, .. } => *n_partitions as usize,
        }
    }

    /// Which of `inputs` the map task `index` reads, and which of its splits; none if there is no such task.
    pub fn locate(inputs: &[InputDescription], index: u32) -> Option<(usize, u32)> {
        let mut split = index as usize;
        for (input, description) in inputs.iter().enumerate() {
            match split.checked_sub(description.n_splits()) {
                Some(after) => split = after,
                // No more than `index`, which has 32 bits.
                None => return Some((input, split as u32)),
            }
        }
        None
    }
}

/// Where the results go, if not to the client: one file a reduce partition, published when all are complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDescription {
    /// The directory, as a URL.
    pub url: String,
    /// What the files hold.
    pub format: FileFormat,
    /// How they are compressed.
    pub compression: Compression,
    /// Whether what is there already is replaced.
    pub overwrite: bool,
    /// Random. It tells what this job writes from what others do: those of other clusters have the same ids.
    pub nonce: u64,
}

/// How keys are spread over partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Partitioning {
    /// By the hash of the encoded key.
    #[default]
    Hash,
    /// By the order of encoded keys, so that the partitions one behind the other are sorted.
    Range {
        /// Where partitions 1, 2, ... begin, ascending.
        boundaries: Vec<Vec<u8>>,
    },
}

/// How a job runs. Every field has a default that suits most jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Most workers that may serve the job at one time; none: as many as there are.
    pub requested_n_workers: Option<u32>,
    /// Reduce partitions; none: from the input's size, see [`crate::Plan::new`].
    pub n_partitions: Option<u32>,
    /// Which partition a key goes to.
    pub partitioning: Partitioning,
    /// Whether the values of a key are reduced in their order instead of the input's.
    pub sort_values: bool,
    /// How often one task may fail by its own doing before the job fails.
    pub max_attempts: u32,
    /// Whether a raised exception is tried again within that budget, or reported at once.
    pub retry_exceptions: bool,
    /// Records a call of the map function; none: chosen by the executor.
    pub batch_size: Option<u32>,
    /// Longest time for one task; none: no limit.
    pub task_timeout_ms: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            requested_n_workers: None,
            n_partitions: None,
            partitioning: Partitioning::Hash,
            sort_values: false,
            max_attempts: 4,
            retry_exceptions: false,
            batch_size: None,
            task_timeout_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Plan;

    fn input() -> impl Strategy<Value = InputDescription> {
        let split =
            |n| Split { object: format!("input/0.{n}"), offset: n, length: 1, records: 1, first_record: n };
        let range = |n| vec![FileRange { file: 0, offset: n, length: 1 }];
        prop_oneof![
            (0..5u64).prop_map(move |n| InputDescription::Uploaded { splits: (0..n).map(split).collect() }),
            (0..5u64).prop_map(move |n| InputDescription::Files {
                format: FileFormat::JsonLines,
                files: Vec::new(),
                splits: (0..n).map(range).collect(),
            }),
            (any::<u64>(), 0..5u32)
                .prop_map(|(of, n_partitions)| InputDescription::Result { of: JobId(of), n_partitions }),
        ]
    }

    fn spec(inputs: Vec<InputDescription>, side_inputs: BTreeMap<String, String>) -> JobSpec {
        JobSpec {
            job: JobId(7),
            user: "ada".to_owned(),
            code: CodeRef::Python { digest: "ab12".to_owned() },
            inputs,
            side_inputs,
            contents: [("code/ab12".to_owned(), Content(vec![1, 2, 3]))].into(),
            output: None,
            settings: Settings::default(),
            submitted_at_ms: 1,
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            inputs in prop::collection::vec(input(), 0..4),
            side_inputs in prop::collection::btree_map(".{0,9}", "[0-9a-f]{64}", 0..3),
        ) {
            let spec = spec(inputs, side_inputs);
            prop_assert_eq!(JobSpec::decode(&spec.encode()), Ok(spec));
        }

        #[test]
        fn every_split_of_every_input_is_one_map_task(inputs in prop::collection::vec(input(), 0..5)) {
            let all: Vec<(usize, u32)> = (0..)
                .zip(&inputs)
                .flat_map(|(input, description)| (0..description.n_splits() as u32).map(move |n| (input, n)))
                .collect();
            let plan = Plan::new(&spec(inputs.clone(), BTreeMap::new()));
            prop_assert_eq!(plan.n_splits as usize, all.len());
            let located = (0..plan.n_splits).map_while(|index| InputDescription::locate(&inputs, index));
            prop_assert_eq!(located.collect::<Vec<_>>(), all);
            prop_assert_eq!(InputDescription::locate(&inputs, plan.n_splits), None);
            prop_assert_eq!(InputDescription::locate(&inputs, u32::MAX), None);
        }
    }
}
