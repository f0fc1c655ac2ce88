//! A relay between the operator's command and the controller's socket, for one thing alone: the moment at
//! which an order is posted. It changes nothing, and costs one local hop.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::lab::word;

/// How the request begins that hands a new order over.
const POST: &[u8] = b"POST /api/v1/orders HTTP/1.1\r\n";

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ending: AtomicBool,
    posted: Mutex<Option<Instant>>,
}

impl Relay {
    /// Puts a relay into the context that is stored in `context`, between it and its controller.
    ///
    /// # Errors
    /// The context names no socket, or a file cannot be written.
    pub(crate) fn enter(context: &Path, folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(context).with_context(|| format!("reading {}", context.display()))?;
        let after = text.split_once("unix://").context("the context names no socket")?.1;
        let upstream = PathBuf::from(after.split_once('"').context("the context's socket has no end")?.0);
        let socket = folder.join("relay.sock");
        let (from, to) = (word(&upstream)?, word(&socket)?);
        let changed = text.replace(from, to);
        ensure!(changed != text, "the context could not be changed");
        let listener = UnixListener::bind(&socket).with_context(|| format!("listening on {to}"))?;
        fs::write(context, changed).with_context(|| format!("writing {}", context.display()))?;
        let shared = Arc::new(Shared { ending: AtomicBool::new(false), posted: Mutex::new(None) });
        let serving = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || serve(&listener, &upstream, &serving));
        Ok(Self { socket, shared, accepting: Some(accepting) })
    }

    /// The moment of the first order that was posted since the last call, which forgets it.
    pub(crate) fn posted(&self) -> Option<Instant> {
        self.shared.posted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then ends.
        drop(UnixStream::connect(&self.socket));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(listener: &UnixListener, upstream: &Path, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.ending.load(Ordering::Relaxed) {
            return;
        }
        // A controller that is gone shows at the client as a connection that ends.
        let Ok(controller) = UnixStream::connect(upstream) else { continue };
        let (Ok(client_back), Ok(controller_back)) = (client.try_clone(), controller.try_clone()) else {
            continue;
        };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            copy(client, controller, |bytes| {
                if bytes.starts_with(POST) {
                    let now = Instant::now();
                    shared.posted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
                }
            });
        });
        std::thread::spawn(move || copy(controller_back, client_back, |_| {}));
    }
}

fn copy(mut from: UnixStream, mut to: UnixStream, mut seen: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        seen(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
