//! The reference manager goes through the kit, as anybody's does.

use convoke_conformance::reference::ReferenceHarness;

fn main() -> std::process::ExitCode {
    convoke_conformance::main::<ReferenceHarness>()
}
