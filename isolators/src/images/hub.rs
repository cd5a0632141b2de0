//! Docker's own registry, which has several names, and which is meant when nobody names another (Mesos's `--docker_registry`,
//! reference 15.2). This file alone names it.

/// The registry of those who name none.
pub const REGISTRY_DEFAULT: &str = "https://registry-1.docker.io";

/// Its host.
pub(super) const HOST: &str = "registry-1.docker.io";

/// The name under which images are said to be there.
pub(super) const NAME: &str = "docker.io";

/// The name under which `docker login` writes credentials for it.
pub(super) const LOGIN: &str = "index.docker.io";

/// Whether a host is that registry under one of its names.
pub(super) fn is_named(host: &str) -> bool {
    [HOST, NAME, LOGIN, "registry.hub.docker.com"].contains(&host)
}
