//! Frames that a raw socket sends, whatever they claim to be.

use super::support::raw::send_frame;
use super::*;

fn ipv4_frame(mac: [u8; 6], source: [u8; 4], target: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(u16::try_from(20 + payload.len()).expect("short").to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend(source);
    frame.extend(target);
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

const OUT4: [u8; 4] = [198, 51, 100, 66];
const SECRET: &[u8] = b"stolen data";

#[test]
fn raw_frames_do_not_leave_whatever_they_claim_to_be() {
    if !private_network("raw_frames_do_not_leave_whatever_they_claim_to_be") {
        return;
    }
    let mut host = Host::new();
    let mac = host.mac();
    let own = [10, 77, 1, 1];
    let udp = [&[0, 53, 0, 53, 0, 19, 0, 0][..], SECRET].concat();
    let plain = ipv4_frame(mac, own, OUT4, 17, &udp);
    // The controller's port, as a source that a careless rule would accept.
    let mut tcp = vec![0x1d, 0x13, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    tcp.extend(SECRET);
    let spoofed = ipv4_frame(mac, [10, 77, 0, 2], OUT4, 6, &tcp);
    // IPv6 to the outside, whose source holds an internal IPv4 address where IPv4 keeps its target.
    let mut six = vec![0xff; 6];
    six.extend(mac);
    six.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 59, 64]);
    six.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 10, 77, 0, 9, 0, 0, 1, 1]);
    six.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]);
    six.extend(SECRET);
    six.resize(80, 0);
    // A VLAN tag before an IPv4 header that is in its usual place for a careless reader.
    let mut tagged = plain[..12].to_vec();
    tagged.extend([0x81, 0x00, 0x45, 0x00]);
    tagged.extend(&plain[12..]);
    let mut strange = plain.clone();
    strange[12..14].copy_from_slice(&[0x12, 0x34]);
    // ARP by its type, anything by its content; and ARP for the outside.
    let mut arp = plain.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut asking = vec![0xff; 6];
    asking.extend(mac);
    asking.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    asking.extend(mac);
    asking.extend(own);
    asking.extend([0; 6]);
    asking.extend(OUT4);
    asking.extend(SECRET);
    asking.resize(60, 0);
    // Neighbour discovery that a router would pass on.
    let mut discovery = vec![0xff; 6];
    discovery.extend(mac);
    discovery.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 35, 58, 255]);
    discovery.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    discovery.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x66]);
    discovery.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    discovery.extend(SECRET);
    discovery.resize(90, 0);
    let frames = [
        ("UDP", &plain),
        ("TCP from the controller's address", &spoofed),
        ("IPv6", &six),
        ("a VLAN tag", &tagged),
        ("an unknown type", &strange),
        ("IPv4 in ARP", &arp),
        ("ARP", &asking),
        ("neighbour discovery", &discovery),
    ];
    let claims = [0, 0x0800, 0x86dd, 0x0806, 0x8100, 0x0003];
    let everything = |expected: bool, host: &Host| {
        for (name, frame) in frames {
            for claim in claims {
                for bypass in [false, true] {
                    host.world.wire.frames();
                    // Refused is as good as lost.
                    _ = send_frame("eth0", claim, frame, bypass);
                    let arrived = || host.world.wire.holding(SECRET) > 0;
                    if expected {
                        wait_for(&format!("{name} as {claim:#06x}"), arrived);
                    } else {
                        assert!(reaches_tcp(CONTROLLER));
                        assert!(!arrived(), "{name} as {claim:#06x} leaked, bypass {bypass}");
                    }
                }
            }
        }
    };
    everything(true, &host);
    host.cut(Profile::Cut);
    everything(false, &host);
    host.cut(Profile::Isolate);
    everything(false, &host);
}
