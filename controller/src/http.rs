//! Serving the API: connections with time limits, and an end that waits for requests but not for ever.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// Most connections at once, on each listener.
const MAX_CONNECTIONS: usize = 512;
/// For a TLS handshake, and for the headers of a request.
const HEADERS: Duration = Duration::from_secs(10);

/// Where requests come from.
pub(crate) enum Listener {
    /// The unix socket.
    Unix(UnixListener),
    /// HTTPS.
    Tls(TcpListener, TlsAcceptor),
}

/// Binds the unix socket; access to it is decided by its file mode and its folder's.
///
/// # Errors
/// If the path cannot be used, or a living controller listens there.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "someone listens there"));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Under a name that nobody knows until its mode is set.
    let unknown = with_suffix(path, ".new");
    match std::fs::remove_file(&unknown) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&unknown)?;
    std::fs::set_permissions(&unknown, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&unknown, path)?;
    Ok(listener)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Serves until `stopping`; then waits for open requests. Cancel it to end at once.
pub(crate) async fn serve(listener: Listener, router: Router, mut stopping: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permit else { break };
        let (watcher, router) = (graceful.watcher(), router.clone());
        let accepted: io::Result<()> = tokio::select! {
            accepted = listener.accept(router, watcher, permit) => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        if let Err(error) = accepted {
            // Out of file descriptors, most likely: give others time to close theirs.
            tracing::warn!(%error, "accepting a request");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

impl Listener {
    async fn accept(
        &self,
        router: Router,
        watcher: Watcher,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> io::Result<()> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    answer(stream, router, watcher).await;
                    drop(permit);
                });
            }
            Self::Tls(listener, acceptor) => {
                let (stream, peer) = listener.accept().await?;
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(HEADERS, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => answer(stream, router, watcher).await,
                        Ok(Err(error)) => tracing::info!(%peer, %error, "HTTPS handshake"),
                        Err(_) => tracing::info!(%peer, "an HTTPS handshake took too long"),
                    }
                    drop(permit);
                });
            }
        }
        Ok(())
    }
}

async fn answer<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection to the API ended");
    }
}
