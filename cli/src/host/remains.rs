//! What an agent leaves behind: its containers outlive it, so that the next one finds them. Where there is to be no next one
//! they are ended from here, and the walls around them taken down as they were built.

use super::agent::RUNTIME_DIRECTORY;
use crate::arguments::isolation::{ISOLATION_DEFAULT, Isolation};
use anyhow::{Context, Result};
use kaon_isolators::build::Settings;
use kaon_isolators::chain::Chain;
use kaon_isolators::containers::{ContainersConfig, Executable, ProcessContainers};
use kaon_isolators::docker::{DockerConfig, DockerContainers};
use kaon_isolators::images::ImagesConfig;
use kaon_kernel::container::ContainerRequest;
use kaon_kernel::port::Containers;
use std::path::Path;
use std::sync::Arc;

/// The file that remembers which isolators an agent had.
const ISOLATION_FILE: &str = "isolation";

/// Notes the walls that an agent is about to build.
pub(super) fn remember(
    dir: &Path,
    isolation: &Isolation,
    images: &ImagesConfig,
    docker: Option<&DockerConfig>,
) -> Result<()> {
    let docker = docker.map(serde_json::to_string).transpose()?.unwrap_or_default();
    let (names, root, store) = (&isolation.isolation, &isolation.cgroups_root, images.store.display());
    let networks = serde_json::to_string(&(&isolation.network_cni_config_dir, &isolation.network_cni_plugins_dir))?;
    let text = format!("{names}\n{root}\n{store}\n{docker}\n{networks}\n");
    std::fs::write(dir.join(ISOLATION_FILE), text).with_context(|| format!("can't write to {}", dir.display()))
}

/// The isolators that the agent of a directory had.
fn remembered(dir: &Path) -> Result<Chain> {
    let text = std::fs::read_to_string(dir.join(ISOLATION_FILE)).unwrap_or_default();
    let mut lines = text.lines();
    let isolation = lines.next().unwrap_or(ISOLATION_DEFAULT);
    let usual = Settings::usual(isolation);
    // A file of before networks were noted has none.
    let networks = text.lines().nth(4).map(serde_json::from_str).transpose().context("the remembered networks")?;
    let (cni_configurations, cni_plugins) = networks.unwrap_or_default();
    let settings = Settings {
        cni_configurations,
        cni_plugins,
        work_directory: dir.to_owned(),
        runtime_directory: dir.join(RUNTIME_DIRECTORY),
        cgroups_root: lines.next().unwrap_or(&usual.cgroups_root).to_owned(),
        images: match (ImagesConfig::usual(dir), lines.next().filter(|store| !store.is_empty())) {
            (usual, Some(store)) => ImagesConfig { store: store.into(), ..usual },
            (usual, None) => usual,
        },
        ..usual
    };
    let chain = settings.chain()?;
    match lines.next().filter(|docker| !docker.is_empty()) {
        Some(docker) => {
            let docker = serde_json::from_str(docker).context("the remembered Docker engine")?;
            Ok(chain.and(Arc::new(DockerContainers::new(docker, &settings.runtime_directory)))?)
        }
        None => Ok(chain),
    }
}

/// Ends every container of an agent that has ended itself, with KILL.
///
/// # Errors
/// When an agent still serves the directory, or it can't be read.
pub(crate) async fn end_containers(dir: &Path) -> Result<()> {
    let config = ContainersConfig {
        work_directory: dir.to_owned(),
        runtime_directory: dir.join(RUNTIME_DIRECTORY),
        executable: Executable::current()?,
        executor_environment: Arc::new(|_, _| Ok(Vec::new())),
        isolators: remembered(dir)?,
        switch_user: false,
        fetcher: None,
        images: None,
        docker: None,
        inside: None,
        rights: None,
        secrets: None,
        rotation: None,
        parent: None,
    };
    let containers = ProcessContainers::new(config, tokio::runtime::Handle::current())?;
    let (done, is_done) = tokio::sync::oneshot::channel();
    let answer = move |_| {
        // Whoever waits may have run out of time.
        let _ = done.send(());
    };
    // What nobody knows is destroyed.
    containers.request(ContainerRequest::Recover { known: Vec::new() }, Box::new(answer));
    Ok(is_done.await?)
}
