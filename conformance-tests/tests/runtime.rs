//! Core's driver and executors on the reference manager: the runtime profile.

use convoke_conformance::Profile;
use convoke_conformance::reference::ReferenceHarness;

fn main() -> std::process::ExitCode {
    convoke_conformance::main_of::<ReferenceHarness>(&[Profile::Runtime])
}
