//! Codes of the controller's API.

use super::{Entry, code};
use crate::problem::Exit;

/// The table, by code.
pub(super) const ENTRIES: &[Entry] = &[
    code(
        "E0501",
        Exit::Failed,
        (
            "corps de requête illisible",
            "Ce que l'API a reçu n'est pas le document attendu.",
            "Vérifiez que la commande et le contrôleur sont de versions compatibles.",
        ),
        (
            "request body unreadable",
            "What the API received is not the document expected.",
            "Check that the command and the controller are of compatible versions.",
        ),
    ),
    code(
        "E0502",
        Exit::Usage,
        (
            "paramètre refusé",
            "Une partie de l'adresse ou de la requête ne se lit pas.",
            "Voyez les paramètres de cette adresse dans docs/openapi.json.",
        ),
        (
            "parameter refused",
            "A part of the address or query cannot be read.",
            "See the parameters of this address in docs/openapi.json.",
        ),
    ),
    code(
        "E0503",
        Exit::Failed,
        ("introuvable", "Rien de ce nom n'est connu du contrôleur.", "Listez ce qui existe."),
        ("not found", "Nothing of that name is known to the controller.", "List what exists."),
    ),
    code(
        "E0504",
        Exit::Failed,
        (
            "adresse inconnue",
            "L'API n'a rien à cette adresse : autre programme ou autre version.",
            "Vérifiez le contexte et la version du contrôleur.",
        ),
        (
            "unknown address",
            "The API has nothing at this address: another program or another version.",
            "Check the context and the controller's version.",
        ),
    ),
    code(
        "E0505",
        Exit::Failed,
        ("méthode refusée", "Cette adresse n'accepte pas cette méthode.", "Voyez docs/openapi.json."),
        ("method refused", "This address does not take this method.", "See docs/openapi.json."),
    ),
    code(
        "E0506",
        Exit::Failed,
        (
            "document trop grand",
            "Le document dépasse la limite de l'API.",
            "Partagez l'ordre en lots de moins de serveurs.",
        ),
        (
            "document too large",
            "The document exceeds the limit of the API.",
            "Split the order into batches of fewer hosts.",
        ),
    ),
    code(
        "E0507",
        Exit::NotAllowed,
        (
            "jeton absent ou faux",
            "L'accès par HTTPS demande un jeton ; celui du contexte manque ou ne convient pas.",
            "Vérifiez token_file dans le contexte, ou utilisez la socket Unix.",
        ),
        (
            "token missing or wrong",
            "Access by HTTPS needs a token; that of the context is missing or does not fit.",
            "Check token_file in the context, or use the Unix socket.",
        ),
    ),
    code(
        "E0508",
        Exit::Failed,
        (
            "contrôleur occupé",
            "Une limite est atteinte ou le contrôleur s'arrête.",
            "Recommencez dans un instant.",
        ),
        ("controller busy", "A limit is reached or the controller is stopping.", "Try again in a moment."),
    ),
    code(
        "E0509",
        Exit::Failed,
        (
            "panne du contrôleur",
            "Le contrôleur a échoué pour une raison qui lui est propre.",
            "Lisez son journal. Ce qui est coupé reste coupé.",
        ),
        (
            "controller failed",
            "The controller failed for a reason of its own.",
            "Read its journal. What is cut stays cut.",
        ),
    ),
    code(
        "E0510",
        Exit::Failed,
        (
            "aucune racine de confiance au contrôleur",
            "Le contrôleur n'a pas encore reçu de racine, il ne peut rien vérifier.",
            "Publiez-la : digue trust publish.",
        ),
        (
            "no trust root at the controller",
            "The controller has not received a root yet and can verify nothing.",
            "Publish it: digue trust publish.",
        ),
    ),
    code(
        "E0511",
        Exit::Failed,
        (
            "lot d'ordre incohérent",
            "Les parts ou les déclarations ne correspondent pas à l'ordre.",
            "Refaites l'ordre à partir de son plan.",
        ),
        (
            "order bundle inconsistent",
            "The leaves or statements do not fit the order.",
            "Make the order again from its plan.",
        ),
    ),
    code(
        "E0512",
        Exit::Failed,
        (
            "un autre ordre porte ce nom",
            "Chaque ordre a un nom tiré au hasard ; deux contenus pour un nom sont refusés.",
            "Recalculez le plan.",
        ),
        (
            "another order has this name",
            "Each order has a name drawn at random; two contents for one name are refused.",
            "Compute the plan again.",
        ),
    ),
    code(
        "E0513",
        Exit::NotAllowed,
        (
            "signature refusée par le contrôleur",
            "La clé n'a pas le rôle, l'espace de noms est un autre, ou les octets sont différents.",
            "Signez par « digue order sign » avec une clé de la racine de confiance.",
        ),
        (
            "signature refused by the controller",
            "The key does not hold the role, the namespace is another, or the bytes differ.",
            "Sign with `digue order sign` and a key of the trust root.",
        ),
    ),
    code(
        "E0514",
        Exit::Moved,
        ("ordre retiré", "L'ordre a été retiré avant d'être complètement signé.", "Recalculez un plan."),
        ("order withdrawn", "The order was withdrawn before it was fully signed.", "Compute a new plan."),
    ),
    code(
        "E0515",
        Exit::Moved,
        (
            "ordre déjà en route",
            "Un ordre signé ne se retire pas ; seul un ordre plus récent le remplace.",
            "Faites un nouvel ordre du même flux.",
        ),
        (
            "order on its way already",
            "A signed order cannot be withdrawn; only a newer one replaces it.",
            "Make a new order of the same stream.",
        ),
    ),
    code(
        "E0516",
        Exit::Moved,
        (
            "inventaire dépassé",
            "Quelqu'un a publié une version plus récente entre-temps.",
            "Relancez la commande : elle repart de la version en vigueur.",
        ),
        (
            "inventory overtaken",
            "Someone published a newer version meanwhile.",
            "Run the command again: it starts from the version in force.",
        ),
    ),
    code(
        "E0517",
        Exit::Failed,
        (
            "ordre trop long pour un agent",
            "Un agent n'accepte pas de trame aussi longue.",
            "Raccourcissez le motif ou les listes de l'ordre.",
        ),
        (
            "order too long for an agent",
            "An agent does not take a frame that long.",
            "Shorten the reason or the lists of the order.",
        ),
    ),
    code(
        "E0520",
        Exit::Failed,
        (
            "disque du contrôleur plein",
            "Rien n'a été enregistré et rien n'a été envoyé.",
            "Libérez de la place. Ce qui est coupé reste coupé ; coupez à la main ce qui ne peut pas attendre.",
        ),
        (
            "the controller's disk is full",
            "Nothing was stored and nothing was sent.",
            "Free space. What is cut stays cut; cut by hand what cannot wait.",
        ),
    ),
    code(
        "E0521",
        Exit::Failed,
        (
            "le contrôleur ne peut rien enregistrer",
            "Rien n'a été enregistré et rien n'a été envoyé.",
            "Lisez son journal. Ce qui est coupé reste coupé ; coupez à la main ce qui ne peut pas attendre.",
        ),
        (
            "the controller cannot store anything",
            "Nothing was stored and nothing was sent.",
            "Read its journal. What is cut stays cut; cut by hand what cannot wait.",
        ),
    ),
];
