//! Merkle trees with the hashing of RFC 6962, section 2.1: leaves and nodes are told apart by a prefix.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// A place in a tree and the hashes from there to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The leaf's index, from zero.
    pub index: u64,
    /// Sibling hashes from the leaf upwards.
    pub path: Vec<Digest>,
}

fn hash(prefix: u8, parts: &[&[u8]]) -> Digest {
    let mut sha = Sha256::new();
    sha.update([prefix]);
    parts.iter().for_each(|part| sha.update(part));
    Digest::from_bytes(sha.finalize().into())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    hash(1, &[left.as_bytes(), right.as_bytes()])
}

/// The levels of the tree, leaves first, the root alone in the last one.
fn levels<T: AsRef<[u8]>>(leaves: &[T]) -> Vec<Vec<Digest>> {
    let mut levels = vec![leaves.iter().map(|leaf| hash(0, &[leaf.as_ref()])).collect::<Vec<_>>()];
    while let Some(last) = levels.last().filter(|level| level.len() > 1) {
        let next = last.chunks(2).map(|pair| match pair {
            [left, right] => node(left, right),
            [single] => *single,
            _ => Digest::of(&[]),
        });
        let next = next.collect();
        levels.push(next);
    }
    levels
}

/// The root over `leaves`; for no leaves the hash of nothing.
pub fn root<T: AsRef<[u8]>>(leaves: &[T]) -> Digest {
    levels(leaves).last().and_then(|level| level.first()).copied().unwrap_or_else(|| Digest::of(&[]))
}

/// The proofs of all leaves, in order.
pub fn proofs<T: AsRef<[u8]>>(leaves: &[T]) -> Vec<Proof> {
    let levels = levels(leaves);
    let proof = |index: usize| {
        let mut at = index;
        let mut path = Vec::new();
        for level in &levels {
            path.extend(level.get(at ^ 1).copied().filter(|_| level.len() > 1));
            at /= 2;
        }
        Proof { index: index as u64, path }
    };
    (0..leaves.len()).map(proof).collect()
}

/// Whether `leaf` stands at its place in the tree of `count` leaves whose root is `root`
/// (RFC 9162, section 2.1.3.2).
pub fn verify(leaf: &[u8], proof: &Proof, count: u64, root: &Digest) -> bool {
    if proof.index >= count || proof.path.len() > 64 {
        return false;
    }
    let (mut index, mut last) = (proof.index, count - 1);
    let mut current = hash(0, &[leaf]);
    for sibling in &proof.path {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            current = node(sibling, &current);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            current = node(&current, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && current == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_leaf_is_proven_at_its_place_and_at_no_other(count in 1usize..70, flip in 0usize..70) {
            let leaves: Vec<Vec<u8>> = (0..count).map(|i| format!("leaf {i}").into_bytes()).collect();
            let root = root(&leaves);
            for (leaf, proof) in leaves.iter().zip(proofs(&leaves)) {
                prop_assert!(verify(leaf, &proof, count as u64, &root));
                prop_assert!(!verify(b"other", &proof, count as u64, &root));
                let moved = Proof { index: (proof.index + 1 + flip as u64) % count as u64, ..proof.clone() };
                prop_assert!(moved.index == proof.index || !verify(leaf, &moved, count as u64, &root));
                let longer = Proof { path: [proof.path.clone(), vec![root]].concat(), ..proof };
                prop_assert!(!verify(leaf, &longer, count as u64, &root));
            }
        }
    }

    #[test]
    fn a_node_cannot_be_passed_off_as_a_leaf() {
        let leaves = [b"a".to_vec(), b"b".to_vec()];
        let inner: Vec<u8> =
            [hash(0, &[b"a"]), hash(0, &[b"b"])].iter().flat_map(|d| d.as_bytes().to_vec()).collect();
        assert!(!verify(&inner, &Proof { index: 0, path: vec![] }, 1, &root(&leaves)));
    }
}
