//! The application's files on the driver's side: what nodes and executors get from it (D8).
//!
//! | file | what |
//! | --- | --- |
//! | `opened` | a file that is held open, so that it can be deleted or replaced while it is served |
//! | `files` | the files that executors find in their working directory |
//! | `program` | the application's program for its executors, where the bootstrap isn't it |
//! | `store` | what executors fetch by digest, over their own connections |
//! | `bootstrap` | which builds of the bootstrap there are, and where nodes have them |
//! | `listener` | the HTTP listener for nodes that fetch the bootstrap; off unless the manager needs it |

mod bootstrap;
mod files;
mod listener;
mod opened;
mod program;
mod store;

pub use files::FileToShip;
pub use store::ArtifactStatus;

pub(super) use bootstrap::{BootstrapPlace, prepare};
pub(super) use program::ProgramSettings;
pub(super) use store::ArtifactStore;

use program::Programs;

use crate::driver::settings::DriverSettings;
use crate::error::{Error, Result};
use crate::manager::Bootstrap;

/// Opens all that the settings name: nothing of it need stay where it is. Answers with what is the bootstrap (none: this very
/// program), the files that are held open for it, and what is served to executors.
///
/// # Errors
/// `InvalidRequest` that names the path.
pub(super) async fn open(
    settings: &DriverSettings,
    bootstrap: Bootstrap,
) -> Result<(Bootstrap, ArtifactStore)> {
    let program = &settings.program;
    if settings.files.is_empty() && *program == ProgramSettings::default() && bootstrap.builds.is_empty() {
        return Ok((bootstrap, ArtifactStore::default())); // the usual start reads nothing
    }
    let (files, program) = (settings.files.clone(), program.clone());
    let opening = tokio::task::spawn_blocking(move || {
        let Programs { bootstrap, held, shipped } = program::open(&program, bootstrap)?;
        Ok((bootstrap, ArtifactStore::new(files::open(&files)?, shipped, held)))
    });
    opening.await.map_err(|error| Error::internal("opening the application's files failed").source(error))?
}
