//! An external system that says yes to everything and remembers what it was asked.

use std::net::SocketAddr;

use serde_json::json;

use crate::vendor::{Asked, Reply, Vendor};

/// A server on a port of its own. It serves until the process ends.
pub struct Forge(Vendor);

impl Forge {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub fn start() -> Forge {
        let yes = json!({ "id": "org-1", "name": "Mortar & Co", "hook": { "id": 42 } });
        Forge(Vendor::start(Reply::json(200, &yes)))
    }

    /// Where it is, as a URL without a slash at its end.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it was asked so far at paths that begin like this, oldest first.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.0.asked().into_iter().filter(|it| it.path.starts_with(path)).collect()
    }
}
