//! Whether servers still reach the outside: asked of the network itself, not of Digue.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use digue_lab::topology::OUTSIDE_SERVICE;

use crate::namespace::{Server, inside};

/// A port that the outside service answers.
const PORT: u16 = 443;
/// Answers come within a millisecond on this network, and a cut refuses at once.
const WAIT: Duration = Duration::from_secs(2);

/// Makes sure that every server reaches the outside service, over IPv4 and IPv6.
///
/// # Errors
/// One does not.
pub(crate) fn all_reach_outside(servers: &[Server]) -> Result<()> {
    let reached = reached(servers)?;
    ensure!(
        reached == 2 * servers.len(),
        "{reached} of {} tries to reach the outside got through",
        2 * servers.len()
    );
    Ok(())
}

/// Makes sure that no server reaches the outside service.
///
/// # Errors
/// One does.
pub(crate) fn none_reaches_outside(servers: &[Server]) -> Result<()> {
    let reached = reached(servers)?;
    ensure!(reached == 0, "{reached} of {} tries to reach the outside got through a cut", 2 * servers.len());
    Ok(())
}

fn reached(servers: &[Server]) -> Result<usize> {
    let (v4, v6) = OUTSIDE_SERVICE;
    let tried = inside(servers, |_, _| {
        let mut reached = 0;
        for address in [IpAddr::from(v4), v6.into()] {
            match TcpStream::connect_timeout(&SocketAddr::new(address, PORT), WAIT) {
                Ok(_) => reached += 1,
                Err(error) if refused(error.kind()) => {}
                Err(error) => return Err(error).context("trying to reach the outside"),
            }
        }
        Ok(reached)
    })?;
    Ok(tried.into_iter().sum())
}

/// How a connection fails when it is the network that stops it, rather than this program.
fn refused(kind: ErrorKind) -> bool {
    [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::PermissionDenied,
        ErrorKind::TimedOut,
    ]
    .contains(&kind)
}
