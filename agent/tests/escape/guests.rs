//! Guests of a cut host: routed, bridged, macvlan.

use super::*;

/// A guest in a namespace of its own, tried against the outside before and after a cut.
fn guest_is_cut(host: &mut Host, guest: &Net, internal_stays: bool) {
    let reaches = |to: &'static str| guest.within(|| reaches_tcp(to));
    wait_for("the guest's way out", || reaches(OUTSIDE));
    assert!(reaches(INTERNAL));
    host.cut(Profile::Cut);
    assert!(!reaches(OUTSIDE), "the guest still gets out");
    assert!(guest.within(|| !reaches_udp(OUTSIDE)));
    assert_eq!(reaches(INTERNAL), internal_stays);
    assert_eq!(host.leaks(), 0);
    host.cut(Profile::Isolate);
    assert!(!reaches(OUTSIDE) && !reaches(INTERNAL));
    assert_eq!(host.leaks(), 0);
}

#[test]
fn a_routed_guest_is_cut_with_its_host() {
    if !private_network("a_routed_guest_is_cut_with_its_host") {
        return;
    }
    let mut host = Host::new();
    let guest = Net::new();
    ip(&format!("link add g0 type veth peer name eth0 netns {}", guest.path()));
    ip("addr add 10.77.200.1/24 dev g0");
    ip("link set g0 up");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
    guest.within(|| {
        ip("addr add 10.77.200.2/24 dev eth0");
        ip("link set eth0 up");
        ip("route add default via 10.77.200.1");
    });
    host.world.rest.within(|| ip("route add 10.77.200.0/24 via 10.77.1.1"));
    guest_is_cut(&mut host, &guest, true);
}

#[test]
fn a_bridged_guest_is_cut_with_its_host() {
    if !private_network("a_bridged_guest_is_cut_with_its_host") {
        return;
    }
    let mut host = Host::new();
    let guest = Net::new();
    ip("link add br0 type bridge");
    ip("addr flush dev eth0");
    ip("link set eth0 master br0");
    ip(&format!("link add g0 type veth peer name eth0 netns {}", guest.path()));
    ip("link set g0 master br0");
    ip("addr add 10.77.1.1/16 dev br0");
    ip("addr add fd77::101/64 dev br0 nodad");
    for card in ["br0", "g0"] {
        ip(&format!("link set {card} up"));
    }
    ip("route add default via 10.77.0.1");
    guest.within(|| {
        ip("addr add 10.77.1.2/16 dev eth0");
        ip("link set eth0 up");
        ip("route add default via 10.77.0.1");
    });
    guest_is_cut(&mut host, &guest, true);
    assert!(reaches_tcp(CONTROLLER), "the host still reaches its controller by the bridge");
}

#[test]
fn a_macvlan_guest_is_cut_with_its_host() {
    if !private_network("a_macvlan_guest_is_cut_with_its_host") {
        return;
    }
    let mut host = Host::new();
    let guest = Net::new();
    if run("ip", "link add m0 link eth0 type macvlan mode bridge").is_err() {
        eprintln!("skipped: this kernel has no macvlan");
        return;
    }
    ip(&format!("link set m0 netns {}", guest.path()));
    guest.within(|| {
        ip("addr add 10.77.1.3/16 dev m0");
        ip("link set m0 up");
        ip("route add default via 10.77.0.1");
    });
    guest_is_cut(&mut host, &guest, true);
}
