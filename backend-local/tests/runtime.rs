//! The runtime profile on the local backend.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use convoke_conformance::{Environment, Harness, NoHooks, Profile, Room, Sizes};
use convoke_core::Result;
use convoke_core::manager::Managed;
use convoke_local::Local;

fn main() -> ExitCode {
    convoke_conformance::main_of::<Tested>(&[Profile::Runtime])
}

#[derive(Debug, Default)]
struct Tested;

#[async_trait]
impl Harness for Tested {
    fn subject(&self) -> String {
        "local-cluster[2,2,512MiB]".to_owned()
    }

    async fn environment(&self) -> Result<Environment> {
        let local = Local::new(&self.subject().parse()?, &Default::default())?;
        Ok(Environment {
            manager: Arc::new(Managed::new(local)),
            hooks: Arc::new(NoHooks),
            room: Room::default(),
            guard: Box::new(()),
        })
    }

    fn sizes(&self) -> Sizes {
        Sizes { tasks: 0, ..Sizes::default() }
    }

    fn reproduce(&self) -> String {
        "cargo test -p convoke-local --test {}".replace("{}", env!("CARGO_CRATE_NAME"))
    }
}
