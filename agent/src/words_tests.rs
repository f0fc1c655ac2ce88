//! What people read, word for word, in both languages.

use digue_proto::id::{Digest, Nonce, UnixMillis};
use digue_proto::policy::{BlockList, OnLostManagement};
use digue_proto::report::{Alarm, Level, Proofs};

use super::*;

fn policy() -> Policy {
    Policy {
        profile: Profile::Cut,
        controllers: vec!["10.77.0.2:7443".parse().expect("address")],
        internal: vec!["10.77.0.0/16".parse().expect("network")],
        exceptions: vec![Exception {
            direction: Direction::Outbound,
            transport: Transport::Tcp,
            peer: "192.0.2.7/32".parse().expect("network"),
            port: 443,
            owner: "alice".to_owned(),
            reason: "forensic upload".to_owned(),
            until_ms: Some(UnixMillis(1_800_000_000_000)),
        }],
        on_lost_management: OnLostManagement::Hold,
    }
}

fn snapshot() -> Snapshot {
    let passed =
        |detail: &str| Check::Passed { detail: detail.to_owned(), at_ms: UnixMillis(1_795_500_000_000) };
    Snapshot {
        api_version: crate::status::API_VERSION.to_owned(),
        host_id: "srv-001".parse().expect("name"),
        fingerprint: "SHA256:x".to_owned(),
        agent_version: "0.1.0".to_owned(),
        boot_id: "b".to_owned(),
        written_at_ms: UnixMillis(1_795_500_000_000),
        links: Links::Cut,
        policy: policy(),
        blocked: BlockList { networks: vec!["198.51.100.66/32".parse().expect("network")] },
        order: Some(OrderNote {
            order_id: Nonce::from_bytes([0xab; 16]),
            digest: Some(Digest::from_bytes([0xcd; 32])),
            incident: Some("caen-2026".to_owned()),
            reason: Some("ransomware on the file servers".to_owned()),
            received_at_ms: Some(UnixMillis(1_795_499_000_000)),
        }),
        proofs: Proofs {
            read_back: passed("the rules read back equal the rules meant"),
            probes: passed("nothing got out"),
            outside: Check::NotDone {},
            management: passed("a new connection was answered"),
        },
        drift: Vec::new(),
        reopens_at_boottime_ms: None,
        level: Level::L4,
        level_detail: Vec::new(),
        root_version: 1,
        connected: true,
        waiting_documents: 0,
        alarms: Vec::new(),
        trouble: None,
    }
}

fn view() -> View {
    View {
        api_version: "digue-agent-view/v1",
        configuration: None,
        running: true,
        snapshot: Some(snapshot()),
        stored: Stored::NotRead,
        tables_in_kernel: Some(6),
    }
}

#[test]
fn a_cut_host_says_in_english_why_by_which_order_and_what_stays_open() {
    let expected = "\
srv-001 — LINKS CUT (verified): the network is cut on purpose
  order            abababab (SHA-256 cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd)
  incident         caen-2026
  reason           ransomware on the file servers
  since            2026-11-24 05:43:20 UTC
  profile          cut
  stays open       loopback
                   controllers 10.77.0.2:7443
                   internal networks 10.77.0.0/16
                   to 192.0.2.7 tcp/443: forensic upload (alice), until 2027-01-15 08:00:00 UTC
  blocked          198.51.100.66/32
  rules read back  passed: the rules read back equal the rules meant (2026-11-24 06:00:00 UTC)
  probes           passed: nothing got out (2026-11-24 06:00:00 UTC)
  new connection   passed: a new connection was answered (2026-11-24 06:00:00 UTC)
  controller       connected
  in the kernel    6 of Digue's tables, counted just now

The links are reopened by an order that two people signed, and by nothing else.
Do not flush the firewall, do not stop the agent: neither reopens anything, both raise an alarm.
Call your incident team and name the order: abababab.
";
    assert_eq!(status(&view(), Language::English), expected);
}

#[test]
fn a_cut_host_says_the_same_in_french() {
    let text = status(&view(), Language::French);
    for expected in [
        "srv-001 — LIENS COUPÉS (vérifié) : le réseau est coupé volontairement\n",
        "  ordre            abababab (SHA-256 cdcd",
        "  motif            ransomware on the file servers\n",
        "  depuis           2026-11-24 05:43:20 UTC\n",
        "  reste ouvert     boucle locale\n",
        "réseaux internes 10.77.0.0/16\n",
        "vers 192.0.2.7 tcp/443: forensic upload (alice), jusqu'au 2027-01-15 08:00:00 UTC\n",
        "Ne videz pas le pare-feu",
        "donnez-lui l'ordre : abababab.\n",
        "6 tables de Digue, comptées à l'instant\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing from:\n{text}");
    }
}

#[test]
fn nothing_is_claimed_of_an_agent_whose_configuration_cannot_be_read() {
    let lost = View {
        configuration: Some("reading the configuration /etc/digue/agent.toml".to_owned()),
        running: false,
        snapshot: None,
        stored: Stored::Never,
        ..view()
    };
    let text = status(&lost, Language::English);
    assert!(text.contains("/etc/digue/agent.toml") && text.contains("--config"), "{text}");
    assert!(text.contains("links may be cut") && !text.contains("NOT RUNNING"), "{text}");
    let bare = View { tables_in_kernel: Some(0), ..lost };
    let text = status(&bare, Language::English);
    assert!(text.contains("No order is stored there.\n") && !text.contains("ever accepted"), "{text}");
}

#[test]
fn a_failed_cut_a_drill_a_full_disk_and_alarms_are_not_hidden() {
    let mut failed = view();
    let inner = failed.snapshot.as_mut().expect("there");
    inner.links = Links::Failed;
    inner.drift = vec!["plain inet table is missing".to_owned()];
    inner.connected = false;
    inner.reopens_at_boottime_ms = Some(1);
    inner.trouble = Some("writing /s/state.a: No space left on device".to_owned());
    inner.alarms = vec![Alarm {
        kind: "rules_changed".to_owned(),
        detail: "nft (pid 7)".to_owned(),
        at_ms: UnixMillis(0),
    }];
    let text = status(&failed, Language::English);
    for expected in [
        "CUT FAILED",
        "  differs          plain inet table is missing\n",
        "  controller       NOT CONNECTED\n",
        "No space left on device",
        "reopens the links by itself",
        "  alarm            rules_changed: nft (pid 7) (1970-01-01 00:00:00 UTC)\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing from:\n{text}");
    }
}

#[test]
fn without_an_agent_nothing_is_claimed_to_be_measured() {
    let mut dead = view();
    dead.running = false;
    let text = status(&dead, Language::English);
    assert!(text.starts_with("THE DIGUE AGENT IS NOT RUNNING."), "{text}");
    assert!(text.contains("nobody has measured it since"), "{text}");
    assert_eq!(dead.standing(), crate::view::Standing::Unverified);
    for (stored, expected) in [
        (Stored::Never, "No order was ever accepted"),
        (Stored::Unreadable("state.a: its checksum does not match".to_owned()), "counts as cut"),
        (Stored::Ordered { contained: true, blocked: 0, order: None }, "are to be cut"),
        (Stored::Ordered { contained: false, blocked: 1, order: None }, "some networks are to be blocked"),
        (Stored::Ordered { contained: false, blocked: 0, order: None }, "are to be open"),
    ] {
        let empty = View { snapshot: None, stored, tables_in_kernel: Some(0), ..dead.clone() };
        let text = status(&empty, Language::English);
        assert!(text.contains(expected), "{expected:?} is missing from:\n{text}");
    }
}

#[test]
fn only_a_running_agent_that_measured_open_or_cut_exits_with_zero() {
    use crate::view::Standing;
    for (links, expected) in [
        (Links::Open, Standing::Measured),
        (Links::Cut, Standing::Measured),
        (Links::Cutting, Standing::Unverified),
        (Links::Releasing, Standing::Unverified),
        (Links::Failed, Standing::Failed),
    ] {
        let mut view = view();
        view.snapshot.as_mut().expect("there").links = links;
        assert_eq!(view.standing(), expected, "{links:?}");
    }
    assert_eq!([0, 1, 3], [Standing::Measured, Standing::Failed, Standing::Unverified].map(Standing::code));
}

#[test]
fn the_language_is_that_of_the_environment() {
    let ask = |name: &'static str, value: &'static str| {
        Language::from_environment(move |asked| (asked == name).then(|| value.to_owned()))
    };
    assert_eq!(ask("LANG", "fr_FR.UTF-8"), Language::French);
    assert_eq!(ask("LANG", "en_GB.UTF-8"), Language::English);
    assert_eq!(ask("LC_ALL", "fr"), Language::French);
    let both = |asked: &str| match asked {
        "LC_ALL" => Some("C".to_owned()),
        "LANG" => Some("fr_FR.UTF-8".to_owned()),
        _ => None,
    };
    assert_eq!(Language::from_environment(both), Language::English);
    assert_eq!(Language::from_environment(|_| None), Language::English);
}
