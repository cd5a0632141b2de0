//! Flags of what an agent fetches for its tasks.

use anyhow::{Result, bail};
use clap::Args;
use kaon_isolators::fetcher::FetcherConfig;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What an agent fetches for its tasks (Mesos's flags of these names, reference 15.2).
#[derive(Args, Debug, Clone)]
pub(crate) struct Fetcher {
    /// Where fetched files are kept, emptied at its start; below the work directory when not given.
    #[arg(long, env = "KAON_FETCHER_CACHE_DIR", value_name = "DIR")]
    pub(crate) fetcher_cache_dir: Option<PathBuf>,
    /// The most that is kept, in MiB.
    #[arg(long, env = "KAON_FETCHER_CACHE_SIZE", default_value_t = 2048, value_name = "MIB")]
    pub(crate) fetcher_cache_size: u64,
    /// A download that brings nothing for so long fails, in seconds.
    #[arg(long, env = "KAON_FETCHER_STALL_TIMEOUT", default_value_t = 60.0, value_name = "SECONDS")]
    pub(crate) fetcher_stall_timeout: f64,
    /// Authorities that https servers are trusted by, a file of certificates; the machine's own when not given.
    #[arg(long, env = "KAON_FETCHER_AUTHORITIES", value_name = "FILE")]
    pub(crate) fetcher_authorities: Option<PathBuf>,
    /// What comes before a URI that is a relative path.
    #[arg(long, env = "KAON_FRAMEWORKS_HOME", value_name = "DIR")]
    pub(crate) frameworks_home: Option<PathBuf>,
}

/// The directory of the cache below the work directory.
const CACHE_DIRECTORY: &str = "fetch";

impl Fetcher {
    /// The fetcher of an agent with this work directory.
    ///
    /// # Errors
    /// When a value is none.
    pub(crate) fn config(&self, work_directory: &Path) -> Result<FetcherConfig> {
        let seconds = self.fetcher_stall_timeout;
        if !(seconds.is_finite() && (0.001..=86_400.0).contains(&seconds)) {
            bail!("--fetcher-stall-timeout {seconds}: expected 0.001 to 86400 seconds");
        }
        let absolute = |path: &PathBuf| std::path::absolute(path);
        Ok(FetcherConfig {
            cache_directory: Some(match &self.fetcher_cache_dir {
                Some(directory) => absolute(directory)?,
                None => work_directory.join(CACHE_DIRECTORY),
            }),
            cache_bytes_max: self.fetcher_cache_size.saturating_mul(1 << 20),
            stall_timeout: Duration::from_secs_f64(seconds),
            frameworks_home: self.frameworks_home.as_ref().map(absolute).transpose()?,
            authorities: self.fetcher_authorities.as_ref().map(absolute).transpose()?,
            ..FetcherConfig::default()
        })
    }
}
