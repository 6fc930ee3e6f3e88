use std::fs;
use std::path::{Path, PathBuf};

/// Where groups can be made, the best place first.
#[derive(Debug, Default)]
pub(super) struct Hierarchies {
    pub(super) unified: Vec<PathBuf>,
    pub(super) memory: Vec<PathBuf>,
    pub(super) cpu: Vec<PathBuf>,
}

impl Hierarchies {
    pub(super) fn of_this_process() -> Hierarchies {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Hierarchies::parse(&mounts, &groups)
    }

    fn parse(mounts: &str, groups: &str) -> Hierarchies {
        let mut found = Hierarchies::default();
        for mount in mounts.lines() {
            let mut fields = mount.split(' ');
            let (Some(_), Some(place), Some(kind), Some(options)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let place = Path::new(place);
            let own = |controller: &str| {
                groups.lines().find_map(|line| {
                    let mut parts = line.splitn(3, ':');
                    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                    controllers
                        .split(',')
                        .any(|name| name == controller)
                        .then(|| path.trim_start_matches('/'))
                })
            };
            let has = |option: &str| options.split(',').any(|name| name == option);
            let below = |controller: &str| {
                // In a container the path may be the host's view, which its own mount doesn't have.
                let own = own(controller).unwrap_or("");
                let mut places = vec![place.join(own)];
                if !own.is_empty() {
                    places.push(place.to_path_buf());
                }
                places
            };
            match kind {
                "cgroup2" => {
                    let own = place.join(own("").unwrap_or(""));
                    // Version 2 wants processes at the leaves only: beside us, where below us is not allowed.
                    found.unified.push(own.clone());
                    found
                        .unified
                        .extend(own.parent().filter(|above| above.starts_with(place)).map(Path::to_path_buf));
                }
                "cgroup" if has("memory") => found.memory = below("memory"),
                "cgroup" if has("cpu") => found.cpu = below("cpu"),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_groups_can_be_made() {
        let mounts = "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let groups = "4:memory:/jobs/1\n1:cpu,cpuacct:/\n0::/user/me\n";
        let found = Hierarchies::parse(mounts, groups);
        assert_eq!(
            found.memory,
            [PathBuf::from("/sys/fs/cgroup/memory/jobs/1"), PathBuf::from("/sys/fs/cgroup/memory")]
        );
        assert_eq!(found.cpu, [PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/")]);
        assert_eq!(
            found.unified,
            [PathBuf::from("/sys/fs/cgroup/unified/user/me"), PathBuf::from("/sys/fs/cgroup/unified/user")]
        );
    }
}
