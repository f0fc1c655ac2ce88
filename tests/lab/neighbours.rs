//! Permanent neighbour entries of a large laboratory.
//!
//! The kernel has one table of learnt neighbours for all network namespaces together, of 1,024 entries for
//! IPv4 and for IPv6. Two hundred servers that talk to border, controller and operator overflow it, and
//! packets are then lost that no real network would lose; permanent entries do not count. Small laboratories
//! learn their neighbours as real machines do.

use std::os::fd::BorrowedFd;

use anyhow::{Context, Result};
use nlink::netlink::neigh::Neighbor;
use nlink::netlink::{Connection, Route};

use crate::machines::RunningMachine;
use crate::network::{hardware_address, interface_of};
use crate::topology::{Machine, Role};

/// From this many servers on the table would overflow.
pub(crate) const MANY_SERVERS: u16 = 100;

/// Makes every server known to border, controllers and operator, and the other way round.
///
/// # Errors
/// The kernel refused an entry.
pub(crate) async fn make_known(machines: &[RunningMachine]) -> Result<()> {
    let with = |roles: &'static [Role]| machines.iter().filter(|one| roles.contains(&one.machine.role));
    let hubs = || with(&[Role::Border, Role::Controller, Role::Operator]);
    let servers = || with(&[Role::Server]);
    for hub in hubs() {
        add(hub, servers().map(|server| &server.machine)).await?;
    }
    for server in servers() {
        add(server, hubs().map(|hub| &hub.machine)).await?;
    }
    Ok(())
}

async fn add(on: &RunningMachine, others: impl Iterator<Item = &Machine>) -> Result<()> {
    let network: BorrowedFd<'_> = on.namespaces.network();
    let route = Connection::<Route>::new_in(network).context("opening netlink inside a machine")?;
    let interface = interface_of(&on.machine);
    let link = route.get_link_by_name(interface).await?.with_context(|| format!("{interface} is missing"))?;
    for other in others {
        for address in [other.v4.into(), other.v6.into()] {
            let entry = Neighbor::with_index(link.ifindex(), address).lladdr(hardware_address(other));
            let added = route.add_neighbor(entry.permanent()).await;
            added.with_context(|| format!("telling {} where {address} is", on.machine.name))?;
        }
    }
    Ok(())
}
