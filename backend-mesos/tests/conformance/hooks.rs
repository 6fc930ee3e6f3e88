//! What can be broken in a real Mesos, and counted beside the backend's own word.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_conformance::{Hooked, Hooks, Traffic};
use convoke_core::Error;
use convoke_core::ids::Name;

use crate::cluster::{Cluster, processes};
use crate::line::Line;

#[derive(Debug)]
pub(crate) struct RealHooks {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) line: Arc<Line>,
}

impl RealHooks {
    async fn with<A: Send + 'static>(&self, act: impl FnOnce(&Cluster) -> A + Send + 'static) -> Hooked<A> {
        let cluster = self.cluster.clone();
        let done = tokio::task::spawn_blocking(move || act(&cluster)).await;
        Ok(done.map_err(|error| Error::internal("a hook of the real Mesos failed").source(error))?)
    }

    async fn control(&self, line: String) -> Hooked {
        self.with(move |cluster| cluster.control(&line)).await
    }
}

#[async_trait]
impl Hooks for RealHooks {
    /// Its agent and all that this started; a master that has noticed is part of it.
    async fn kill_node(&self, host: &Name) -> Hooked {
        let agent = Cluster::agent_of(host.as_str());
        self.with(move |cluster| cluster.kill_node(agent)).await
    }

    async fn revive_node(&self, host: &Name) -> Hooked {
        self.control(format!("agent {} start", Cluster::agent_of(host.as_str()))).await
    }

    async fn kill_daemon(&self, host: &Name) -> Hooked {
        self.control(format!("agent {} kill", Cluster::agent_of(host.as_str()))).await
    }

    async fn stop_manager(&self) -> Hooked {
        self.control("master kill".to_owned()).await
    }

    async fn start_manager(&self) -> Hooked {
        self.control("master start".to_owned()).await
    }

    async fn cut_network(&self) -> Hooked {
        self.line.cut(true);
        Ok(())
    }

    async fn mend_network(&self) -> Hooked {
        self.line.cut(false);
        Ok(())
    }

    async fn count_processes(&self, application: &str) -> Hooked<u32> {
        let named = |arguments: Vec<u8>| arguments.split(|b| *b == 0).any(|it| it == application.as_bytes());
        let count = processes().filter(|id| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(named)).count();
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn list_existing(&self, application: &str) -> Hooked<Vec<String>> {
        let state = self.with(|cluster| cluster.state()).await?;
        let mut existing = Vec::new();
        for framework in state["frameworks"].as_array().unwrap() {
            let labels = framework["labels"].as_array().cloned().unwrap_or_default();
            if labels.iter().any(|it| it["key"] == "convoke.application" && it["value"] == application) {
                existing.push(format!("framework {}", framework["id"].as_str().unwrap_or("?")));
                existing.extend(
                    framework["tasks"].as_array().unwrap().iter().map(|task| format!("task {}", task["id"])),
                );
            }
        }
        Ok(existing)
    }

    async fn end_application(&self, native: &str) -> Hooked {
        let native = native.to_owned();
        self.with(move |cluster| cluster.teardown(&native)).await
    }

    async fn drain_node(&self, host: &Name, _after: Duration) -> Hooked {
        let host = host.to_string();
        self.with(move |cluster| {
            let state = cluster.state();
            let agents = state["slaves"].as_array().unwrap();
            let agent = agents.iter().find(|it| it["hostname"] == host.as_str()).unwrap();
            cluster.drain(agent["id"].as_str().unwrap());
        })
        .await
    }

    async fn traffic(&self) -> Hooked<Traffic> {
        Ok(self.line.traffic())
    }
}
