//! Telling systemd when the controller is ready and when it stops (`Type=notify`).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends one state, if systemd asked to be told. Failing to tell is no reason to fail.
pub(crate) fn notify(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&address, state) {
        tracing::warn!(%error, "systemd could not be told {state:?}");
    }
}

fn send(address: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_reached() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("socket");
        send(path.as_os_str(), "READY=1").expect("sent");
        let name = format!("digue-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("name");
        let by_name = UnixDatagram::bind_addr(&address).expect("socket");
        send(format!("@{name}").as_ref(), "STOPPING=1").expect("sent");
        let mut buffer = [0; 64];
        let length = by_path.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"READY=1");
        let length = by_name.recv(&mut buffer).expect("received");
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }
}
