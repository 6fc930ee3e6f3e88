//! What the figures were measured on.

use std::process::Command;

/// Name and value, for people.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name"));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let gib = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    vec![
        ("date", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("cores", format!("{cores} ({})", model.unwrap_or_default().trim_start_matches([' ', '\t', ':']))),
        ("memory", format!("{:.0} GiB", gib.unwrap_or_default() / f64::from(1 << 20))),
        ("system", said_by("uname", &["-sr"])),
        ("compiler", said_by("rustc", &["--version"])),
        ("convoke", env!("CARGO_PKG_VERSION").to_owned()),
        ("load before", read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
    ]
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_else(|_| "unknown".to_owned())
}
