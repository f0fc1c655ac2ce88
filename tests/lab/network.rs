//! Links, addresses and routes of the laboratory, by netlink: no `ip` and no `nft` program is needed.
//!
//! The switch is a bridge in the laboratory's own network namespace, which has no address and no route.
//! Deliberately absent: anything that could act on the network namespace of the machine; every connection
//! is opened by the descriptor of a namespace that the laboratory made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use anyhow::{Context, Result, ensure};
use nlink::netlink::addr::{Ipv4Address, Ipv6Address};
use nlink::netlink::link::{BridgeLink, LinkCreateExt, MacvlanLink, VethLink};
use nlink::netlink::namespace::Netns;
use nlink::netlink::nftables::{BaseChain, Chain, Family, NatHook, Priority, Rule};
use nlink::netlink::route::{Ipv4Route, Ipv6Route};
use nlink::netlink::{Connection, Nftables, Route};

use crate::topology::{BORDER_INSIDE, BORDER_OUTSIDE, INSIDE_PREFIX, Machine, OUTSIDE_PREFIX};

/// The bridge that all machines of the inside are plugged into.
const INSIDE_BRIDGE: &str = "inside";
/// The interface of a machine; the border has [`BORDER_INTERFACES`].
pub(crate) const INTERFACE: &str = "eth0";
/// The border's interfaces, inside and outside.
const BORDER_INTERFACES: (&str, &str) = ("lan0", "wan0");

/// An address with its prefix length.
type Prefixed = (IpAddr, u8);

/// The laboratory's switch.
pub(crate) struct Switch {
    route: Connection<Route>,
}

impl Switch {
    /// Makes the bridge in the calling process's network namespace.
    ///
    /// # Errors
    /// The namespace is not a fresh one: it has links other than loopback, so it may be the machine's own.
    pub(crate) async fn create() -> Result<Self> {
        let route = Connection::<Route>::new().context("opening netlink")?;
        let links = route.get_links().await.context("listing links")?;
        let names: Vec<String> = links.iter().filter_map(|link| link.name().map(str::to_owned)).collect();
        ensure!(
            names.iter().all(|name| is_kernel_made(name)),
            "this network namespace already has links ({}), so it is not the laboratory's own; nothing was changed",
            names.join(", ")
        );
        route.add_link(BridgeLink::new(INSIDE_BRIDGE).stp(false).up()).await.context("making the bridge")?;
        route.set_link_up("lo").await.context("raising the switch's loopback")?;
        Ok(Self { route })
    }

    /// Plugs `machine` into the inside: link, addresses, routes.
    pub(crate) async fn plug(&self, machine: &Machine, network: BorrowedFd<'_>) -> Result<()> {
        let interface = interface_of(machine);
        let pair = VethLink::new(port(&machine.name), interface)
            .peer_address(hardware_address(machine))
            .peer_netns_fd(network);
        self.route.add_link(pair.master(INSIDE_BRIDGE).up()).await.context("making a port of the switch")?;
        let host = connect(network)?;
        let addresses = [(machine.v4.into(), INSIDE_PREFIX.0), (machine.v6.into(), INSIDE_PREFIX.1)];
        raise(&host, interface, &addresses).await?;
        if machine.v4 != BORDER_INSIDE.0 {
            default_routes(&host, BORDER_INSIDE).await?;
        }
        Ok(())
    }

    /// Connects or disconnects the cable of a machine that is plugged in.
    ///
    /// # Errors
    /// It is not on the switch, as the "internet" is not.
    pub(crate) async fn set_cable(&self, machine: &str, plugged: bool) -> Result<()> {
        let set = self.route.set_link_state(port(machine).as_str(), plugged).await;
        set.with_context(|| format!("changing the cable of {machine}"))
    }
}

/// The interface by which a machine is on the inside.
pub(crate) fn interface_of(machine: &Machine) -> &'static str {
    if machine.v4 == BORDER_INSIDE.0 { BORDER_INTERFACES.0 } else { INTERFACE }
}

/// The hardware address of a machine on the inside, which its IPv4 address tells.
pub(crate) fn hardware_address(machine: &Machine) -> [u8; 6] {
    let [_, _, third, fourth] = machine.v4.octets();
    [0x02, 0x77, 0, 0, third, fourth]
}

/// The name of a machine's port of the switch.
fn port(machine: &str) -> String {
    format!("p-{machine}")
}

/// The kernel makes tunnel devices of its own in every new namespace when their modules are loaded.
fn is_kernel_made(name: &str) -> bool {
    ["lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"]
        .contains(&name)
}

/// Connects the border to the "internet" and translates the addresses of the inside.
pub(crate) async fn connect_outside(
    border: BorrowedFd<'_>,
    internet: BorrowedFd<'_>,
    outside: &[(Ipv4Addr, Ipv6Addr)],
) -> Result<()> {
    let route = connect(border)?;
    let pair = VethLink::new(BORDER_INTERFACES.1, INTERFACE)
        .peer_address([0x02, 0x66, 0, 0, 0, 66])
        .peer_netns_fd(internet);
    route.add_link(pair.up()).await.context("making the link to the internet")?;
    let far = connect(internet)?;
    let addresses: Vec<Prefixed> = outside
        .iter()
        .flat_map(|(v4, v6)| [(IpAddr::from(*v4), OUTSIDE_PREFIX.0), ((*v6).into(), OUTSIDE_PREFIX.1)])
        .collect();
    raise(&far, INTERFACE, &addresses).await?;
    default_routes(&far, BORDER_OUTSIDE).await?;
    let (v4, v6) = BORDER_OUTSIDE;
    raise(&route, BORDER_INTERFACES.1, &[(v4.into(), OUTSIDE_PREFIX.0), (v6.into(), OUTSIDE_PREFIX.1)])
        .await?;
    masquerade(border, "lab_border", BORDER_INTERFACES.1).await
}

/// Opens rtnetlink in the namespace that `network` names.
fn connect(network: BorrowedFd<'_>) -> Result<Connection<Route>> {
    Connection::<Route>::new_in(network).context("opening netlink inside a machine")
}

fn netns(network: BorrowedFd<'_>) -> Result<Netns> {
    let fd = network.try_clone_to_owned().context("copying a descriptor")?;
    Netns::from_fd(fd).context("opening a network namespace")
}

/// Gives `interface` its addresses and raises it, and loopback.
async fn raise(host: &Connection<Route>, interface: &str, addresses: &[Prefixed]) -> Result<()> {
    host.set_link_up("lo").await.context("raising loopback")?;
    let link = host.get_link_by_name(interface).await?.with_context(|| format!("{interface} is missing"))?;
    host.set_link_up_by_index(link.ifindex()).await.with_context(|| format!("raising {interface}"))?;
    add_addresses(host, link.ifindex(), addresses).await
}

async fn add_addresses(host: &Connection<Route>, index: u32, addresses: &[Prefixed]) -> Result<()> {
    for (address, prefix) in addresses {
        match address {
            IpAddr::V4(v4) => host.add_address(Ipv4Address::with_index(index, *v4, *prefix)).await,
            IpAddr::V6(v6) => host.add_address(Ipv6Address::with_index(index, *v6, *prefix).nodad()).await,
        }
        .with_context(|| format!("adding the address {address}/{prefix}"))?;
    }
    Ok(())
}

async fn default_routes(host: &Connection<Route>, gateway: (Ipv4Addr, Ipv6Addr)) -> Result<()> {
    host.add_route(Ipv4Route::default_route().gateway(gateway.0)).await.context("adding the IPv4 route")?;
    host.add_route(Ipv6Route::default_route().gateway(gateway.1)).await.context("adding the IPv6 route")
}

/// Rewrites the source of what leaves by `interface`, as a border router does.
async fn masquerade(network: BorrowedFd<'_>, table: &str, interface: &str) -> Result<()> {
    translate(network, table, |rule| rule.match_oif(interface)).await
}

/// Rewrites the source of what leaves by anything but the guest's own link, as a container runtime does.
async fn translate_guest(network: BorrowedFd<'_>, link: &str) -> Result<()> {
    translate(network, &format!("lab_{link}"), |rule| rule.match_oif_not(link)).await
}

async fn translate(network: BorrowedFd<'_>, table: &str, which: impl FnOnce(Rule) -> Rule) -> Result<()> {
    let nft = Connection::<Nftables>::new_in(network).context("opening nftables inside a machine")?;
    let rules = async {
        nft.add_table(table, Family::Inet).await?;
        let base = BaseChain::nat(NatHook::Postrouting, Priority::SrcNat);
        nft.add_chain(Chain::new(table, "postrouting")?.family(Family::Inet).base(base)).await?;
        nft.add_rule(which(Rule::new(table, "postrouting").family(Family::Inet)).masquerade()).await
    };
    rules.await.context("adding the rule that translates addresses (does the kernel have nftables with NAT?)")
}

/// How a guest is connected to the machine that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestKind {
    /// Behind the host, which forwards and translates: what container runtimes do by default.
    Routed,
    /// On the inside network, through a bridge that the host's own interface is part of.
    Bridged,
    /// On the inside network, by a macvlan interface on the host's.
    Macvlan,
}

/// Connects a guest to its host and returns its addresses. `number` is unique in the laboratory, from 1.
pub(crate) async fn connect_guest(
    kind: GuestKind,
    name: &str,
    number: u8,
    host: &Machine,
    host_network: BorrowedFd<'_>,
    guest_network: BorrowedFd<'_>,
) -> Result<(Ipv4Addr, Ipv6Addr)> {
    let route = connect(host_network)?;
    let uplink = if route.get_link_by_name(GUEST_BRIDGE).await?.is_some() { GUEST_BRIDGE } else { INTERFACE };
    let near = format!("v-{name}");
    let (own, gateway, prefix) = match kind {
        GuestKind::Routed => {
            let gateway = (Ipv4Addr::new(172, 30, number, 1), routed_v6(number, 1));
            let pair = VethLink::new(&near, INTERFACE).peer_netns_fd(guest_network);
            route.add_link(pair.up()).await.context("making the guest's link")?;
            raise(&route, &near, &[(gateway.0.into(), 24), (gateway.1.into(), 64)]).await?;
            forward(host_network)?;
            translate_guest(host_network, &near).await?;
            ((Ipv4Addr::new(172, 30, number, 2), routed_v6(number, 2)), gateway, (24, 64))
        }
        GuestKind::Bridged => {
            if uplink != GUEST_BRIDGE {
                put_interface_under_bridge(&route, host).await?;
            }
            let pair = VethLink::new(&near, INTERFACE).peer_netns_fd(guest_network);
            route.add_link(pair.master(GUEST_BRIDGE).up()).await.context("making the guest's link")?;
            (inside_guest(number), BORDER_INSIDE, INSIDE_PREFIX)
        }
        GuestKind::Macvlan => {
            let parent = route.get_link_by_name(uplink).await?.context("the host has no interface")?;
            let link = MacvlanLink::with_parent_index(&near, parent.ifindex());
            route
                .add_link(link)
                .await
                .context("making the macvlan interface (does the kernel have macvlan?)")?;
            route.set_link_netns_fd(near.as_str(), guest_network).await.context("giving it to the guest")?;
            let guest = connect(guest_network)?;
            guest.set_link_name(near.as_str(), INTERFACE).await.context("naming the guest's interface")?;
            (inside_guest(number), BORDER_INSIDE, INSIDE_PREFIX)
        }
    };
    let guest = connect(guest_network)?;
    raise(&guest, INTERFACE, &[(own.0.into(), prefix.0), (own.1.into(), prefix.1)]).await?;
    default_routes(&guest, gateway).await?;
    Ok(own)
}

/// The bridge that a host gets with its first bridged guest.
const GUEST_BRIDGE: &str = "br0";

fn inside_guest(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(10, 77, 200, number), crate::topology::inside_v6(200, number))
}

fn routed_v6(number: u8, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd78, 0, 0, u16::from(number), 0, 0, 0, last)
}

fn forward(network: BorrowedFd<'_>) -> Result<()> {
    let switches = [("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")];
    netns(network)?.sysctl().set_many(&switches).context("letting the host forward")
}

/// Makes `br0` of the host's interface, as an administrator does for virtual machines: the bridge takes over
/// the interface's hardware address, addresses and routes.
async fn put_interface_under_bridge(route: &Connection<Route>, host: &Machine) -> Result<()> {
    let bridge = BridgeLink::new(GUEST_BRIDGE).stp(false).address(hardware_address(host));
    route.add_link(bridge.up()).await.context("making the host's bridge")?;
    route.flush_addresses(INTERFACE).await.context("taking the interface's addresses")?;
    route.set_link_master(INTERFACE, GUEST_BRIDGE).await.context("putting the interface under the bridge")?;
    raise(route, GUEST_BRIDGE, &[(host.v4.into(), INSIDE_PREFIX.0), (host.v6.into(), INSIDE_PREFIX.1)])
        .await?;
    // The IPv6 default route names the interface, and survives the loss of its addresses.
    route.del_route_v6_if_exists(Ipv6Addr::UNSPECIFIED, 0).await.context("removing the old IPv6 route")?;
    default_routes(route, BORDER_INSIDE).await
}
