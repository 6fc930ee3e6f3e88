//! What stands in a master URL of this backend.

use std::fmt;

use convoke_core::manager::MasterUrl;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_core::{Error, Result};

/// The most processors of one simulated node, and the most slots of `local[n]`.
const MOST_CPUS: u32 = 4096;
/// The most simulated nodes.
const MOST_NODES: u32 = 4096;

/// A master URL of this backend, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalMaster {
    /// `local[n]`, `local[*]`, `local`: one node of `n` cpus, and one executor that takes all of them.
    Single {
        /// How many cpus, which are as many tasks at once.
        cpus: u32,
    },
    /// `local-inline[n]`, `local-inline[*]`, `local-inline`: the same, but the executor is threads of this very process.
    Inline {
        /// How many cpus, which are as many tasks at once.
        cpus: u32,
    },
    /// `local-cluster[nodes,cpus,memory]`: simulated nodes on this host, and any number of executors on them.
    Cluster {
        /// How many nodes: `node-1` …
        nodes: u32,
        /// What each has.
        each: Resources,
    },
}

impl LocalMaster {
    /// Reads a master URL. `*` stands for the processors of this host, which `processors` tells.
    ///
    /// # Errors
    /// `InvalidRequest` (field `master`) with what is wrong and how it is written right.
    pub fn parse(url: &MasterUrl, processors: u32) -> Result<LocalMaster> {
        match url.scheme() {
            "local" => Ok(LocalMaster::Single { cpus: parse_single(url, processors)? }),
            "local-inline" => Ok(LocalMaster::Inline { cpus: parse_single(url, processors)? }),
            "local-cluster" => parse_cluster(url),
            _ => Err(bad(url, "not a master of the local backend", SINGLE)),
        }
    }

    /// The cpus of the one executor that it runs, where it runs but one.
    #[must_use]
    pub fn only_executor(&self) -> Option<Cpus> {
        match self {
            LocalMaster::Single { cpus } | LocalMaster::Inline { cpus } => Some(Cpus::whole(*cpus)),
            LocalMaster::Cluster { .. } => None,
        }
    }

    /// How many nodes it has.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        match self {
            LocalMaster::Single { .. } | LocalMaster::Inline { .. } => 1,
            LocalMaster::Cluster { nodes, .. } => *nodes,
        }
    }
}

impl fmt::Display for LocalMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalMaster::Single { cpus } => write!(f, "local[{cpus}]"),
            LocalMaster::Inline { cpus } => write!(f, "local-inline[{cpus}]"),
            LocalMaster::Cluster { nodes, each } => {
                write!(f, "local-cluster[{nodes},{},{}]", each.cpus, each.memory)
            }
        }
    }
}

const SINGLE: &str =
    "write local[4] for four tasks at once, local[*] for as many as this host has processors";
const CLUSTER: &str =
    "write local-cluster[NODES,CPUS,MEMORY], each node having that much, like local-cluster[2,4,1GiB]";

fn bad(url: &MasterUrl, why: &'static str, help: &'static str) -> Error {
    Error::invalid("master", why).with("url", url).help(help)
}

fn parse_single(url: &MasterUrl, processors: u32) -> Result<u32> {
    let inside = match (url.rest(), url.brackets()) {
        ("", _) => "*",
        (_, Some(inside)) => inside.trim(),
        _ => return Err(bad(url, "local is not a host, but this process's own", SINGLE)),
    };
    if inside == "*" {
        return Ok(processors.clamp(1, MOST_CPUS));
    }
    if inside.contains(',') {
        let help =
            "write local[4] for one executor, or local-cluster[2,4,1GiB] for two nodes of 4 cpus and 1 GiB";
        return Err(bad(url, "local takes one number", help));
    }
    let cpus = whole(inside).ok_or_else(|| bad(url, "local takes a whole number of slots, or *", SINGLE))?;
    match cpus {
        0 => Err(bad(url, "an executor without slots would run nothing", SINGLE)),
        1..=MOST_CPUS => Ok(cpus),
        _ => Err(bad(url, "too many slots: 4096 at the most", SINGLE)),
    }
}

fn parse_cluster(url: &MasterUrl) -> Result<LocalMaster> {
    let inside =
        url.brackets().ok_or_else(|| bad(url, "local-cluster needs its size in brackets", CLUSTER))?;
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let [nodes, cpus, memory] = parts[..] else {
        return Err(bad(url, "local-cluster takes three parts", CLUSTER).with("parts", parts.len()));
    };
    let nodes = whole(nodes).ok_or_else(|| {
        bad(url, "the first part, the nodes, is a whole number", CLUSTER).with("nodes", nodes)
    })?;
    if nodes == 0 || nodes > MOST_NODES {
        return Err(bad(url, "a cluster has 1 to 4096 nodes", CLUSTER).with("nodes", nodes));
    }
    let part = |why: &'static str, text: &str, source: Error| {
        bad(url, why, CLUSTER).with("part", format!("{text:?}")).source(source)
    };
    let cpus: Cpus = cpus
        .parse()
        .map_err(|error| part("the second part, the cpus of a node, is an amount of cpus", cpus, error))?;
    if cpus.millis() == 0 || cpus > Cpus::whole(MOST_CPUS) {
        return Err(bad(url, "a node has more than 0 and at most 4096 cpus", CLUSTER).with("cpus", cpus));
    }
    let memory: MiB = memory.parse().map_err(|error| {
        part("the third part, the memory of a node, is an amount with a unit", memory, error)
    })?;
    if memory.0 == 0 {
        return Err(bad(url, "a node needs memory", CLUSTER));
    }
    Ok(LocalMaster::Cluster { nodes, each: Resources::new(cpus, memory) })
}

/// Digits and nothing else; saturates, for what is too large is refused anyway.
fn whole(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LocalMaster> {
        LocalMaster::parse(&text.parse()?, 6)
    }

    #[test]
    fn masters_as_people_write_them() {
        for (text, printed) in [
            ("local", "local[6]"),
            ("local[*]", "local[6]"),
            ("local[ 3 ]", "local[3]"),
            ("local-inline", "local-inline[6]"),
            ("local-inline[2]", "local-inline[2]"),
            ("local-cluster[2,4,1GiB]", "local-cluster[2,4,1GiB]"),
            ("local-cluster[ 2 , 0.5 , 1536MiB ]", "local-cluster[2,0.5,1536MiB]"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_to_write_it() {
        for (text, why) in [
            ("local[0]", "without slots"),
            ("local[]", "whole number of slots"),
            ("local[-1]", "whole number of slots"),
            ("local[2.5]", "whole number of slots"),
            ("local[99999999999999999999]", "4096 at the most"),
            ("local[2,3]", "one number"),
            ("local://host", "not a host"),
            ("local-cluster", "in brackets"),
            ("local-cluster[2,4]", "three parts"),
            ("local-cluster[2,4,1GiB,1]", "three parts"),
            ("local-cluster[0,4,1GiB]", "1 to 4096 nodes"),
            ("local-cluster[5000,4,1GiB]", "1 to 4096 nodes"),
            ("local-cluster[two,4,1GiB]", "first part"),
            ("local-cluster[2,0,1GiB]", "at most 4096 cpus"),
            ("local-cluster[2,999999,1GiB]", "at most 4096 cpus"),
            ("local-cluster[2,four,1GiB]", "second part"),
            ("local-cluster[2,4,1024]", "third part"),
            ("local-cluster[2,4,0MiB]", "needs memory"),
            ("local-cluster[2,4,99999999999999TiB]", "third part"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.field(), Some("master"), "{text}");
            assert!(error.message().contains(why), "{text}: {error}");
            assert!(error.advice().is_some_and(|help| help.contains("local")), "{text}: {error:?}");
        }
    }
}
