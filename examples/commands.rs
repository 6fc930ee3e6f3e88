//! Runs programs that know nothing of convoke as tasks: `cargo run --example commands`

use convoke::driver::jobs::TaskOptions;
use convoke::task::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    convoke::init();
    let driver = convoke::Driver::builder().executors(2).start_blocking()?;
    let texts = ["one two", "three", "four five six"];
    let commands = texts.map(|text| Command::new("wc").arg("-w").stdin(text));
    for (text, output) in texts.iter().zip(driver.with(TaskOptions::new()).map_commands(commands).wait()?) {
        println!("{text:?}: {} words", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}
