//! What the loops took when somebody last accepted it, in a file beside this one.

use std::{collections::BTreeMap, env::consts::ARCH, fs, io, path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

use crate::{Error, callgrind, loops::Loop};

/// A loop that takes so much more than it did is worse, in percent.
const GROWTH_PERCENT_MAX: f64 = 5.0;

/// Counts, and what they depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    rustc: String,
    valgrind: String,
    arch: String,
    /// By the names of the loops.
    loops: BTreeMap<String, Count>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Count {
    /// One of what the instructions were divided by.
    per: String,
    instructions: f64,
}

impl Baseline {
    /// Nothing counted yet.
    pub fn of_this_machine() -> Result<Baseline, Error> {
        let rustc = Command::new("rustc").arg("--version").output()?.stdout;
        Ok(Baseline {
            rustc: String::from_utf8_lossy(&rustc).trim().to_owned(),
            valgrind: callgrind::version()?,
            arch: ARCH.to_owned(),
            loops: BTreeMap::new(),
        })
    }

    /// Takes what a loop took.
    pub fn add(&mut self, one: &Loop, instructions: u64) {
        let each = instructions as f64 / one.n as f64;
        let count = Count { per: one.element.to_owned(), instructions: (each * 100.0).round() / 100.0 };
        self.loops.insert(one.name.to_owned(), count);
    }

    fn path() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.json")
    }

    fn read() -> Result<Option<Baseline>, Error> {
        match fs::read(Self::path()) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                Ok(Some(read.map_err(|error| format!("{}: {error}", Self::path().display()))?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", Self::path().display()).into()),
        }
    }

    /// What the counts depend on.
    fn made_by(&self) -> [&String; 3] {
        [&self.rustc, &self.valgrind, &self.arch]
    }

    /// Makes these counts the baseline. If they are not of all loops, those of the others stay, unless they were
    /// made by other tools.
    pub fn save(mut self, is_all: bool) -> Result<(), Error> {
        let before = Self::read()?;
        self.print(before.as_ref());
        if let (false, Some(before)) = (is_all, before) {
            if before.made_by() != self.made_by() {
                return Err(format!("other tools made it: {:?}; update all loops", before.made_by()).into());
            }
            before.loops.into_iter().for_each(|(name, count)| {
                self.loops.entry(name).or_insert(count);
            });
        }
        fs::write(Self::path(), serde_json::to_string_pretty(&self)? + "\n")?;
        eprintln!("written: {}", Self::path().display());
        Ok(())
    }

    /// Prints these counts beside the baseline; whether no loop has become worse.
    pub fn compare(&self) -> Result<bool, Error> {
        let before = Self::read()?;
        self.print(before.as_ref());
        let Some(before) = before else {
            return Err("there is no baseline: make one with --update".into());
        };
        if before.made_by() != self.made_by() {
            let (was, is) = (before.made_by(), self.made_by());
            eprintln!("note: the baseline was made by {was:?}, this is {is:?}: differences may be theirs");
        }
        if before.arch != self.arch {
            eprintln!("note: counts of another processor's instructions are not compared");
            return Ok(true);
        }
        let mut is_well = true;
        for (name, now) in &self.loops {
            match before.loops.get(name).map(|count| growth_percent(count, now)) {
                None => eprintln!("error: {name} is not in the baseline: accept it with --update"),
                Some(percent) if percent > GROWTH_PERCENT_MAX => {
                    eprintln!("error: {name} takes {percent:.1} % more: mend it, or accept it with --update");
                }
                Some(_) => continue,
            }
            is_well = false;
        }
        Ok(is_well)
    }

    #[expect(clippy::print_stdout, reason = "this is what it is for")]
    fn print(&self, before: Option<&Baseline>) {
        println!("{:<20} {:>12}   {:<12} {:>10} {:>8}", "loop", "instructions", "per", "baseline", "change");
        for (name, now) in &self.loops {
            let was = before.and_then(|before| before.loops.get(name));
            let (was, change) = match was {
                Some(was) => {
                    (format!("{:.2}", was.instructions), format!("{:+.1} %", growth_percent(was, now)))
                }
                None => ("none".to_owned(), String::new()),
            };
            println!("{name:<20} {:>12.2}   {:<12} {was:>10} {change:>8}", now.instructions, now.per);
        }
    }
}

fn growth_percent(before: &Count, now: &Count) -> f64 {
    100.0 * (now.instructions / before.instructions - 1.0)
}
