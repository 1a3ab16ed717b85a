//! Writes the inputs that fuzzing begins with, `<directory>/<target>/seed-<n>`: `cargo run -p mapreduce-decoders
//! --example seeds -- <directory>`.

use std::{env, error::Error, fs, path::PathBuf};

use mapreduce_decoders::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).map(PathBuf::from).ok_or("which directory?")?;
    for target in TARGETS {
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory)?;
        for (n, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(directory.join(format!("seed-{n:02}")), seed)?;
        }
    }
    Ok(())
}
