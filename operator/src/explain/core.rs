//! Codes of signed documents: what agents, the controller and this command refuse for the same reasons.

use super::{Entry, code};
use crate::problem::Exit;

/// The table, by code.
pub(super) const ENTRIES: &[Entry] = &[
    code(
        "E0301",
        Exit::Tampering,
        (
            "enveloppe hors limites",
            "L'enveloppe est trop grande, mal formée ou porte trop de signatures ; elle n'a pas été lue plus loin.",
            "Reprenez le fichier d'origine ; s'il vient du réseau, traitez-le comme une falsification.",
        ),
        (
            "envelope out of bounds",
            "The envelope is too large, malformed or carries too many signatures; it was read no further.",
            "Go back to the original file; if it came over the network, treat it as tampering.",
        ),
    ),
    code(
        "E0302",
        Exit::Tampering,
        (
            "type de document inattendu",
            "Un document d'un type a été présenté là où un autre est attendu.",
            "Vérifiez quel fichier vous présentez.",
        ),
        (
            "unexpected type of document",
            "A document of one type was presented where another is expected.",
            "Check which file you present.",
        ),
    ),
    code(
        "E0303",
        Exit::MoreSignatures,
        (
            "pas assez de signatures qui comptent",
            "Le seuil de cette classe compte des personnes distinctes, dont la clé est dans la racine de confiance et qui ont le rôle. Le contenu n'a pas été lu.",
            "Faites signer d'autres personnes ; la cause dit pourquoi certaines signatures ne comptent pas.",
        ),
        (
            "too few signatures that count",
            "The threshold of this class counts distinct persons whose key is in the trust root and who hold the role. The contents were not read.",
            "Have other persons sign; the cause says why some signatures do not count.",
        ),
    ),
    code(
        "E0304",
        Exit::MoreSignatures,
        (
            "aucun signataire du rôle forensic",
            "Déclarer un serveur sain demande au moins une personne du rôle forensic.",
            "Faites signer une personne qui a ce rôle.",
        ),
        (
            "no signer of the forensic role",
            "Stating that a host is clean needs at least one person of the forensic role.",
            "Have a person with that role sign.",
        ),
    ),
    code(
        "E0305",
        Exit::Tampering,
        (
            "pas signé par la clé du serveur",
            "Le reçu ou le rapport ne porte pas la signature de la clé inscrite à l'inventaire pour ce serveur.",
            "Si le serveur a été reconstruit, enrôlez-le à nouveau ; sinon traitez-le comme une falsification.",
        ),
        (
            "not signed by the host's key",
            "The receipt or report does not carry the signature of the key that the inventory names for this host.",
            "If the host was rebuilt, enrol it again; otherwise treat it as tampering.",
        ),
    ),
    code(
        "E0306",
        Exit::Tampering,
        (
            "contenu signé illisible",
            "Les signatures tiennent, mais le contenu n'est pas un document bien formé de ce type.",
            "Ne le signez pas et ne le rejouez pas ; refaites-le avec la commande digue.",
        ),
        (
            "signed contents unreadable",
            "The signatures hold, but the contents are not a well-formed document of that type.",
            "Neither sign nor repeat it; make it again with the digue command.",
        ),
    ),
    code(
        "E0307",
        Exit::Tampering,
        (
            "autre déploiement",
            "Le document nomme un autre déploiement : un ordre d'essai ne vaut pas en production.",
            "Vérifiez le contexte utilisé.",
        ),
        (
            "another deployment",
            "The document names another deployment: an order for a test fleet is worth nothing in production.",
            "Check the context in use.",
        ),
    ),
    code(
        "E0308",
        Exit::Failed,
        (
            "racine de confiance plus récente nécessaire",
            "Le document a été signé sous une racine que ce côté n'a pas encore.",
            "Récupérez la chaîne (digue trust fetch) ; un agent la reçoit avec le prochain contact.",
        ),
        (
            "a newer trust root is needed",
            "The document was signed under a root that this side does not hold yet.",
            "Fetch the chain (digue trust fetch); an agent receives it with the next contact.",
        ),
    ),
    code(
        "E0309",
        Exit::Tampering,
        (
            "classe de signature fausse",
            "L'action demande une autre classe que celle sous laquelle elle a été signée : une réouverture ne passe pas pour une protection.",
            "Refaites l'ordre par « digue plan ».",
        ),
        (
            "wrong class of signature",
            "The action needs another class than the one under which it was signed: a release does not pass for a protection.",
            "Make the order again with `digue plan`.",
        ),
    ),
    code(
        "E0311",
        Exit::Tampering,
        (
            "racine différente de celle épinglée",
            "L'empreinte de la première racine n'est pas celle donnée à l'installation.",
            "Comparez les empreintes par un autre canal avant toute chose.",
        ),
        (
            "another root than the pinned one",
            "The digest of the first root is not the one given at installation.",
            "Compare the digests by another channel before anything else.",
        ),
    ),
    code(
        "E0312",
        Exit::Failed,
        (
            "version de racine hors suite",
            "Une racine est acceptée seulement si elle suit exactement la précédente.",
            "Présentez les racines dans l'ordre, sans en sauter.",
        ),
        (
            "root version out of sequence",
            "A root is accepted only if it follows the one before exactly.",
            "Present the roots in order, without skipping any.",
        ),
    ),
    code(
        "E0313",
        Exit::Tampering,
        (
            "racine d'un autre déploiement",
            "La racine nomme un autre déploiement que celui épinglé ici.",
            "Vérifiez le contexte et le fichier.",
        ),
        (
            "root of another deployment",
            "The root names another deployment than the one pinned here.",
            "Check the context and the file.",
        ),
    ),
    code(
        "E0314",
        Exit::Tampering,
        (
            "époque refusée",
            "gen_epoch recule ou saute trop loin.",
            "Refaites la racine par « digue trust rotate --bump-epoch ».",
        ),
        (
            "epoch refused",
            "gen_epoch goes back or jumps too far.",
            "Make the root again with `digue trust rotate --bump-epoch`.",
        ),
    ),
    code(
        "E0315",
        Exit::Failed,
        (
            "programme trop ancien",
            "La racine exige un protocole que ce programme ne parle pas.",
            "Mettez le programme à jour.",
        ),
        (
            "program too old",
            "The root asks for a protocol that this program does not speak.",
            "Update the program.",
        ),
    ),
    code(
        "E0316",
        Exit::Failed,
        (
            "contenu de la racine refusé",
            "Une règle est enfreinte : clé en double ou faible, rôle sans assez de membres, liste non triée.",
            "Corrigez le brouillon ; la cause nomme la règle.",
        ),
        (
            "contents of the root refused",
            "A rule is broken: a key twice or weak, a role without enough members, a list not sorted.",
            "Correct the draft; the cause names the rule.",
        ),
    ),
];
