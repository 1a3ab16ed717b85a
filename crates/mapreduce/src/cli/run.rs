//! `mapreduce run`: one job, from the command line: of commands, or of Python functions.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use mapreduce_core::{CodeRef, Commands, Compression, FileFormat, InvalidText, Settings};

use super::{Result, cluster::User};
use crate::{
    ClusterUrls, LocalOptions, by_hand, home,
    native::{Code, Input, Output, Session},
};

/// Run a job over files: of commands, or of Python functions.
///
/// With --mapper and --reducer, shell commands that read lines and write lines of key<TAB>value; the reducer gets
/// them sorted by key. Else with FILE.py:map_function and FILE.py:reduce_function.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The map and the reduce function, such as job.py:words job.py:count.
    #[arg(value_name = "FILE.py:FUNCTION", num_args = 2, conflicts_with_all = ["mapper", "reducer"])]
    functions: Vec<String>,
    /// A command that maps: it reads records, one a line, and writes key<TAB>value.
    #[arg(long, value_name = "COMMAND", requires = "reducer")]
    mapper: Option<String>,
    /// A command that reduces: it reads key<TAB>value, sorted, and writes the output's lines.
    #[arg(long, value_name = "COMMAND", requires = "mapper")]
    reducer: Option<String>,
    /// A combiner: FILE.py:FUNCTION.
    #[arg(long, value_name = "FILE.py:FUNCTION", conflicts_with = "mapper")]
    combine: Option<String>,
    /// What to read: paths, directories, patterns.
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    input: Vec<String>,
    /// The directory to write to, or its URL; without it, the output is printed.
    #[arg(long, value_name = "DIR")]
    output: Option<String>,
    /// Replace what is in the output's directory.
    #[arg(long, requires = "output")]
    overwrite: bool,
    /// Reduce tasks, each of which writes a file.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Workers of the cluster that is started for the job.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// The directory of a cluster that runs already; without it, one is started for the job.
    #[arg(long, value_name = "DIR", conflicts_with = "coordination")]
    directory: Option<PathBuf>,
    /// Where the coordination is of a cluster that runs already, wherever its machines are, such as
    /// zookeeper://host:port/path?auth=/file.
    #[arg(long, value_name = "URL")]
    coordination: Option<String>,
    #[command(flatten)]
    user: User,
}

impl Args {
    pub fn run(mut self) -> Result {
        match (self.mapper.take(), self.reducer.take()) {
            (Some(mapper), Some(reducer)) => self.run_commands(&Commands { mapper, reducer }),
            _ if self.functions.len() == 2 => self.run_python(),
            _ => Err("give --mapper and --reducer, or two functions as FILE.py:FUNCTION".into()),
        }
    }

    fn run_commands(self, commands: &Commands) -> Result {
        let session = match (&self.coordination, &self.directory) {
            (Some(url), _) => self.user.session_at(url)?,
            (None, Some(directory)) => {
                let directory = fs::canonicalize(directory)?;
                let urls = ClusterUrls::local(&directory, home::users_url()?)?;
                self.user.session(urls)?
            }
            (None, None) => {
                let options =
                    LocalOptions { n_workers: self.workers, n_masters: 1, ..LocalOptions::default() };
                Session::with_cluster(options)?
            }
        };
        let scratch = tempfile::tempdir()?;
        let format = FileFormat::Text { invalid: InvalidText::Bytes };
        let printed = scratch.path().join("output");
        let output = Output {
            directory: self.output.clone().unwrap_or_else(|| printed.display().to_string()),
            format,
            compression: Compression::None,
            overwrite: self.overwrite,
        };
        let settings = Settings { n_partitions: self.partitions, ..Settings::default() };
        let input = Input::files(format, self.input);
        let code = Code::new(serde_json::to_vec(commands)?);
        session.run(
            code,
            |digest| CodeRef::Commands { digest },
            input,
            Some(output),
            |_| Ok(settings),
            &BTreeMap::new(),
        )?;
        if self.output.is_none() { print_parts(&printed) } else { Ok(()) }
    }

    /// Functions are pickled by Python: the package's own part takes over, with the same arguments. A cluster that was made
    /// by hand has no keeper to attach to, and is known to Python by its coordination.
    fn run_python(self) -> Result {
        let beside = env::current_exe()?.with_file_name("python");
        let python = if beside.exists() { beside } else { "python3".into() };
        let mut command = Command::new(&python);
        command.args(["-m", "mapreduce._run"]);
        command.args(env::args_os().skip_while(|argument| argument != "run").skip(1));
        if let Some(directory) = &self.directory
            && by_hand::ca(directory)?.is_some()
        {
            let urls = ClusterUrls::local(&std::path::absolute(directory)?, "")?;
            command.args(["--coordination", &urls.coordination]);
        }
        let error = command.exec();
        Err(format!("{} does not start: {error}", python.display()).into())
    }
}

fn print_parts(directory: &Path) -> Result {
    let mut parts: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    parts.retain(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"part-")));
    parts.sort();
    let mut out = io::stdout().lock();
    for part in parts {
        io::copy(&mut fs::File::open(part)?, &mut out)?;
    }
    Ok(out.flush()?)
}
