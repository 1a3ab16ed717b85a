//! The glue between the Rust engine and the Python package: conversions, one runtime, and the translation of
//! errors. What a user sees is Python (`python/mapreduce`); what does the work is in the other crates.

mod auth;
mod client;
mod cluster;
mod executor;
mod files;
mod fork;
mod inputs;
mod keys;
mod objects;
mod raise;
mod results;
mod runtime;
mod side_inputs;
mod upload;
mod user_code;
mod values;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::auth::{change_password, create_user, delete_user, login};
    #[pymodule_export]
    use crate::executor::{die_with_parent, exited_frame, ready_frame, run_executor};
    #[pymodule_export]
    use crate::{
        client::Client,
        cluster::{Cluster, Connection},
        files::{InputFiles, check_output_directory},
        keys::{_decode_key, _encode_key},
        side_inputs::{SideInputOpener, digest},
        values::{_decode_value, _encode_value},
    };
}
