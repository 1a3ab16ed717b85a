//! `mapreduce cluster init`, `token` and `join`: clusters on several machines, whose processes are started by hand.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use mapreduce_core::{Role, Secret};
use mapreduce_identity::Token;

use super::{Result, stores::read_secret};
use crate::by_hand::{self, InitOptions, Joined};

/// Make a cluster on several machines, or let machines join it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(Init),
    Token(NewToken),
    Join(Join),
}

impl Args {
    pub async fn run(self) -> Result {
        match self.command {
            Command::Init(args) => args.run().await,
            Command::Token(args) => args.run().await,
            Command::Join(args) => args.run().await,
        }
    }
}

/// Make a new cluster: its keys, its certificates and its first admin, whose password is in --password-file, or
/// MAPREDUCE_PASSWORD, or asked for.
#[derive(Debug, clap::Args)]
struct Init {
    /// Where this machine's masters and workers find all that they must know.
    directory: PathBuf,
    /// Who is alive, who owns which job, and who may log in, such as zookeeper://host:port,host:port/path?auth=/file.
    #[arg(long, value_name = "URL")]
    coordination: String,
    /// Data, markers and results, such as hdfs://host:port/directory.
    #[arg(long, value_name = "URL")]
    storage: String,
    /// The first admin.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    username: String,
    /// A file with nothing but the first admin's password.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

impl Init {
    async fn run(self) -> Result {
        let Init { directory, coordination, storage, username, password_file } = self;
        let password = match password_file {
            Some(path) => read_secret(&path, "the first admin's password")?,
            None => new_password(&username)?,
        };
        let shown = directory.display().to_string();
        let id = by_hand::init(InitOptions { directory, coordination, storage, username, password }).await?;
        writeln!(io::stdout(), "{id} is made; start its masters by")?;
        writeln!(
            io::stdout(),
            "    mapreduce master --directory {shown} --listen 0.0.0.0:7070 --advertise HOST:7070"
        )?;
        Ok(())
    }
}

/// From the environment, else from the terminal.
fn new_password(username: &str) -> Result<Secret> {
    match env::var("MAPREDUCE_PASSWORD") {
        Ok(password) => return Ok(Secret::new(password)),
        Err(env::VarError::NotPresent) => {}
        Err(env::VarError::NotUnicode(_)) => return Err("MAPREDUCE_PASSWORD is not UTF-8".into()),
    }
    if !io::stdin().is_terminal() {
        return Err(
            format!("there is no terminal to ask for {username}'s password: set MAPREDUCE_PASSWORD").into()
        );
    }
    let password = rpassword::prompt_password(format!("A password for {username}: "))?;
    if rpassword::prompt_password("Again: ")? != password {
        return Err("the two passwords differ".into());
    }
    Ok(Secret::new(password))
}

/// Print a token, with which one machine can join the cluster once.
#[derive(Debug, clap::Args)]
struct NewToken {
    /// This machine's directory.
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// What the other machine will run: workers, or masters, too.
    #[arg(long, value_name = "worker|master", default_value = "worker", value_parser = role)]
    role: Role,
    /// For how long it can be used, in minutes.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    valid_for_min: u32,
}

fn role(text: &str) -> std::result::Result<Role, String> {
    [Role::Worker, Role::Master]
        .into_iter()
        .find(|role| role.name() == text)
        .ok_or_else(|| "a machine runs as worker or master".to_owned())
}

impl NewToken {
    async fn run(self) -> Result {
        let directory = std::path::absolute(&self.directory)?;
        let life = Duration::from_secs(60 * u64::from(self.valid_for_min));
        let token = by_hand::token(&directory, self.role, life).await?;
        Ok(writeln!(io::stdout(), "{}", token.to_line())?)
    }
}

/// Make this machine a part of a cluster.
#[derive(Debug, clap::Args)]
struct Join {
    /// The line that `mapreduce cluster token` printed; - reads it from standard input, where nobody else can see it.
    token: String,
    /// Where this machine's masters and workers will find all that they must know.
    directory: PathBuf,
}

impl Join {
    async fn run(self) -> Result {
        let line = if self.token == "-" { io::read_to_string(io::stdin())? } else { self.token };
        let Joined { cluster, role } = by_hand::join(&Token::from_line(&line)?, &self.directory).await?;
        writeln!(io::stdout(), "this machine is a part of {cluster}; start what it runs by")?;
        if role == Role::Master {
            let address = "--listen 0.0.0.0:7070 --advertise HOST:7070";
            writeln!(
                io::stdout(),
                "    mapreduce master --directory {} {address}",
                self.directory.display()
            )?;
        }
        writeln!(io::stdout(), "    mapreduce worker --directory {}", self.directory.display())?;
        Ok(())
    }
}
