//! A small deployment for tests: real keys and signatures by `ssh-keygen`.

use std::path::Path;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::trust_chain::Trust;

use crate::keygen::{self, KeyType};
use crate::trust_draft::{self, Changes};

/// The persons of the deployment; each holds every role.
pub(crate) const PERSONS: [&str; 3] = ["alice", "bruno", "chloe"];

/// Keys of [`PERSONS`] in `folder` and a trust root that names one controller.
pub(crate) async fn trust(folder: &Path, controller: Digest) -> Trust {
    let mut changes = Changes {
        add_controllers: vec![format!("controller={controller}").parse().expect("a controller")],
        ..Changes::default()
    };
    for name in PERSONS {
        let path = folder.join(name);
        keygen::make(&path, KeyType::Ed25519, name, true).await.expect("a key");
        changes.add_persons.push(format!("{name}={}:all", path.display()).parse().expect("a person"));
    }
    let root = trust_draft::first(&changes, UnixMillis(1)).expect("a root");
    let payload = trust_draft::payload(&root).expect("bytes");
    let envelope = sealed(folder, &PERSONS, PayloadType::Root, payload).await;
    Trust::initial(&envelope, &envelope.digest()).expect("a trust root")
}

/// Bytes signed by persons or hosts whose keys lie in `folder`.
pub(crate) async fn sealed(
    folder: &Path,
    by: &[&str],
    payload_type: PayloadType,
    payload: Vec<u8>,
) -> Envelope {
    let mut envelope = Envelope { payload_type, payload, signatures: Vec::new() };
    for name in by {
        let armour = keygen::sign(&folder.join(name), payload_type, &envelope.payload).await.expect("signed");
        envelope.signatures.push(armour);
    }
    envelope
}
