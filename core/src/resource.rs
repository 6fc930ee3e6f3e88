//! What an executor gets and what a task takes of it.

mod profile;
mod resources;

pub use profile::{ResourceProfile, TaskResources};
pub use resources::Resources;
