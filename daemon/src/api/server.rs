//! The server: one application on two listeners.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

use super::error::{ApiError, Code};
use super::peers::UnixPeer;
use super::routes::Table;
use super::{
    Api, artifact_transfer, artifacts, authorize, dispatch, hooks, openapi, system, system_update,
};

/// Listening sockets.
pub struct Listeners {
    tcp: TcpListener,
    unix: Option<(UnixListener, PathBuf)>,
}

/// What the sockets are bound to.
#[derive(Clone, Debug)]
pub struct Bound {
    /// TCP, with the port that it got.
    pub address: SocketAddr,
    /// Unix socket.
    pub socket: Option<PathBuf>,
}

/// Binds the sockets. A socket file that nobody listens on is left over from a crash and replaced.
pub fn bind(address: SocketAddr, socket: Option<&Path>) -> Result<(Listeners, Bound), String> {
    let tcp = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = tcp.local_addr().map_err(|error| error.to_string())?;
    let unix = match socket {
        Some(path) => Some((bind_unix(path)?, path.to_owned())),
        None => None,
    };
    Ok((Listeners { tcp, unix }, Bound { address, socket: socket.map(Path::to_owned) }))
}

fn bind_unix(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(format!("cannot listen on {shown}: something else is there"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(format!("cannot listen on {shown}: another process does"));
        }
        std::fs::remove_file(path).map_err(|error| format!("cannot replace {shown}: {error}"))?;
    }
    let listener =
        UnixListener::bind(path).map_err(|error| format!("cannot listen on {shown}: {error}"))?;
    // Everybody may connect; who may do what is decided by what the kernel says of the peer.
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))
        .map_err(|error| format!("cannot open {shown} to its callers: {error}"))?;
    Ok(listener)
}

impl Listeners {
    /// Starts serving; the server stops when its handle says so.
    pub fn serve(self, api: Arc<Api>, workers: usize) -> std::io::Result<Server> {
        let head_timeout = Duration::from_secs(api.limits.request_head_seconds);
        let api = web::Data::from(api);
        let table = web::Data::new(Table::new());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(api.clone())
                .app_data(table.clone())
                // A scope is a plain prefix; a `{token}` would cost a regular expression per request.
                .service(web::scope("/hooks").default_service(web::route().to(hooks::serve)))
                .route(authorize::PATH, web::get().to(authorize::by_query))
                .route(authorize::PATH, web::post().to(authorize::by_form))
                .route(authorize::API_PATH, web::get().to(authorize::by_query))
                .route(authorize::API_PATH, web::post().to(authorize::by_form))
                .route(
                    &format!("{}/{{id}}", artifacts::PATH),
                    web::route().to(artifact_transfer::serve),
                )
                .route("/api/v1/openapi.json", web::get().to(openapi::serve))
                .route(system_update::PATH, web::route().to(dispatch::serve_system_update))
                .route(
                    &format!("/api/v1{}", system_update::PATH),
                    web::route().to(dispatch::serve_system_update),
                )
                .route("/api/v1/{name}", web::route().to(dispatch::serve))
                .route("/healthz", web::get().to(system::healthz))
                .route("/readyz", web::get().to(system::readyz))
                .default_service(web::to(nothing_here))
        })
        .workers(workers)
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(Duration::from_secs(2))
        .shutdown_timeout(15)
        .disable_signals()
        .on_connect(note_peer)
        .listen(self.tcp)?;
        let server = match self.unix {
            Some((listener, _)) => server.listen_uds(listener)?,
            None => server,
        };
        Ok(server.run())
    }
}

fn note_peer(connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::UnixStream>()
        && let Ok(peer) = stream.peer_cred()
    {
        data.insert(UnixPeer { uid: peer.uid(), gid: peer.gid() });
    }
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let path: String = request.path().chars().take(100).collect();
    let message = format!("there is nothing at `{path}`; the API is at /api/v1/");
    ApiError::new(Code::NotFound, message).respond()
}
