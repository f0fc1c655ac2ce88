//! Codes of an agent's refusals: why an order, though it arrived, was not obeyed.

use super::{Entry, code};
use crate::problem::Exit;

/// The table, by code.
pub(super) const ENTRIES: &[Entry] = &[
    code(
        "E0401",
        Exit::Partial,
        (
            "ordre sans la part de ce serveur",
            "L'ordre nomme une liste figée de cibles, et la part de ce serveur ne l'accompagnait pas.",
            "Renvoyez l'ordre entier : « digue order show » dit qui le reçoit.",
        ),
        (
            "order without this host's part",
            "The order names a frozen list of targets, and this host's part did not come with it.",
            "Send the whole order again: `digue order show` says who gets it.",
        ),
    ),
    code(
        "E0402",
        Exit::Partial,
        (
            "ordre pour un autre serveur",
            "La part présentée nomme un autre serveur.",
            "Vérifiez d'où vient la livraison ; un relais honnête ne confond pas les parts.",
        ),
        (
            "order for another host",
            "The part presented names another host.",
            "Check where the delivery came from; an honest relay does not mix the parts up.",
        ),
    ),
    code(
        "E0403",
        Exit::Partial,
        (
            "ordre pour une autre clé",
            "Le nom est le bon, la clé est celle d'avant une reconstruction.",
            "Enrôlez la nouvelle clé, puis recalculez le plan.",
        ),
        (
            "order for another key",
            "The name is right, the key is that of before a rebuild.",
            "Enrol the new key, then compute the plan again.",
        ),
    ),
    code(
        "E0404",
        Exit::Moved,
        (
            "ordre plus ancien que celui en vigueur",
            "Le serveur a déjà accepté un ordre de numéro égal ou supérieur sur ce flux.",
            "Recalculez le plan : il prendra un numéro plus grand.",
        ),
        (
            "order older than the one in force",
            "The host has accepted an order with an equal or higher number in this stream already.",
            "Compute the plan again: it will take a higher number.",
        ),
    ),
    code(
        "E0405",
        Exit::Moved,
        (
            "autre époque",
            "L'époque de l'ordre n'est pas celle de la racine de confiance que le serveur détient.",
            "Recalculez le plan ; vérifiez que le serveur a reçu la dernière racine.",
        ),
        (
            "another epoch",
            "The epoch of the order is not that of the trust root that the host holds.",
            "Compute the plan again; check that the host has received the newest root.",
        ),
    ),
    code(
        "E0406",
        Exit::Partial,
        (
            "numéro d'ordre trop élevé",
            "Le numéro saute plus loin que permis : un numéro extrême bloquerait tous les suivants.",
            "Publiez une racine avec --bump-epoch si des numéros ont été gaspillés.",
        ),
        (
            "order number too high",
            "The number jumps further than allowed: an extreme number would block all later ones.",
            "Publish a root with --bump-epoch if numbers were wasted.",
        ),
    ),
    code(
        "E0407",
        Exit::Partial,
        (
            "défi absent",
            "Tout ordre qui ouvre doit répéter le défi que le serveur a tiré.",
            "Recalculez le plan une fois que le serveur a rapporté.",
        ),
        (
            "challenge missing",
            "Every order that opens must repeat the challenge that the host drew.",
            "Compute the plan again once the host has reported.",
        ),
    ),
    code(
        "E0408",
        Exit::Moved,
        (
            "défi périmé",
            "Le défi a servi, ou le serveur a redémarré depuis le plan : un ordre retenu ne peut pas ressortir.",
            "Recalculez le plan et faites-le signer à nouveau.",
        ),
        (
            "challenge no longer valid",
            "The challenge was spent, or the host restarted since the plan: a withheld order cannot come back.",
            "Compute the plan again and have it signed anew.",
        ),
    ),
    code(
        "E0409",
        Exit::Moved,
        (
            "ordre expiré",
            "La date limite d'un ordre qui ouvre est passée, à l'horloge du serveur.",
            "Recalculez le plan ; vérifiez l'horloge du serveur.",
        ),
        (
            "order expired",
            "The time limit of an order that opens has passed, by the host's clock.",
            "Compute the plan again; check the host's clock.",
        ),
    ),
    code(
        "E0410",
        Exit::Partial,
        (
            "couperait l'agent de ses contrôleurs",
            "Aucun contrôleur configuré sur ce serveur ne resterait joignable.",
            "Ajoutez l'adresse du contrôleur au plan (--controller-address), ou dites --allow-self-cut si c'est voulu.",
        ),
        (
            "would cut the agent off its controllers",
            "None of the controllers configured on this host would stay reachable.",
            "Add the controller's address to the plan (--controller-address), or say --allow-self-cut if that is meant.",
        ),
    ),
    code(
        "E0411",
        Exit::Partial,
        (
            "assouplirait l'endiguement",
            "Un ordre de protection ne peut rien ouvrir de ce qui est fermé.",
            "Utilisez « plan adjust » (deux signatures) pour assouplir sans rouvrir.",
        ),
        (
            "would relax the containment",
            "A protective order cannot open anything that is closed.",
            "Use `plan adjust` (two signatures) to relax without reopening.",
        ),
    ),
    code(
        "E0412",
        Exit::Partial,
        (
            "exercice sur un serveur déjà endigué",
            "Un ordre à réouverture automatique assouplirait l'endiguement en vigueur.",
            "Retirez ce serveur de l'exercice.",
        ),
        (
            "drill on a contained host",
            "An order with an automatic reopening would relax the containment in force.",
            "Take this host out of the drill.",
        ),
    ),
    code(
        "E0413",
        Exit::Partial,
        (
            "rien à ajuster",
            "Aucun endiguement n'est en vigueur sur ce serveur.",
            "Utilisez « plan cut » ou « plan isolate ».",
        ),
        (
            "nothing to adjust",
            "No containment is in force on this host.",
            "Use `plan cut` or `plan isolate`.",
        ),
    ),
    code(
        "E0414",
        Exit::Partial,
        (
            "réouverture sans déclaration de santé",
            "Rouvrir un serveur demande une déclaration signée qu'il est sain.",
            "Faites la déclaration (digue verdict set HÔTE clean), puis recalculez le plan.",
        ),
        (
            "release without a clean statement",
            "Reopening a host needs a signed statement that it is clean.",
            "Make the statement (digue verdict set HOST clean), then compute the plan again.",
        ),
    ),
    code(
        "E0415",
        Exit::Partial,
        (
            "autre déclaration que celle signée",
            "La déclaration jointe n'est pas celle que l'ordre désigne.",
            "Renvoyez l'ordre avec la bonne déclaration.",
        ),
        (
            "another statement than the one signed for",
            "The statement attached is not the one that the order designates.",
            "Send the order again with the right statement.",
        ),
    ),
    code(
        "E0416",
        Exit::Partial,
        (
            "déclaration de santé refusée",
            "Les signatures de la déclaration ne suffisent pas sous la racine en vigueur.",
            "Refaites la déclaration avec les personnes nécessaires.",
        ),
        (
            "clean statement refused",
            "The statement's signatures do not suffice under the root in force.",
            "Make the statement again with the persons needed.",
        ),
    ),
    code(
        "E0417",
        Exit::Partial,
        (
            "déclaration pour un autre état du serveur",
            "La déclaration vise une autre clé, un autre serveur ou un autre démarrage.",
            "Réexaminez le serveur dans son état actuel et refaites la déclaration.",
        ),
        (
            "statement about another state of the host",
            "The statement is about another key, another host or another boot.",
            "Examine the host in its present state and make the statement again.",
        ),
    ),
    code(
        "E0418",
        Exit::Partial,
        (
            "déclaration de santé caduque",
            "Sa durée de validité est passée.",
            "Réexaminez le serveur et refaites la déclaration.",
        ),
        (
            "clean statement lapsed",
            "Its validity has ended.",
            "Examine the host and make the statement again.",
        ),
    ),
    code(
        "E0419",
        Exit::Partial,
        (
            "mêmes personnes des deux côtés",
            "La racine demande que ceux qui déclarent sain et ceux qui rouvrent soient distincts.",
            "Faites signer la réouverture par d'autres personnes.",
        ),
        (
            "the same persons on both sides",
            "The root asks that those who state clean and those who reopen be distinct.",
            "Have other persons sign the release.",
        ),
    ),
    code(
        "E0420",
        Exit::MoreSignatures,
        (
            "réouverture sans verdict : trois personnes",
            "Rouvrir sans déclaration de santé demande trois signatures, et figure dans chaque rapport.",
            "Faites signer une troisième personne, ou faites une déclaration de santé.",
        ),
        (
            "release without verdict: three persons",
            "Reopening without a clean statement needs three signatures, and stands in every report.",
            "Have a third person sign, or make a clean statement.",
        ),
    ),
    code(
        "E0421",
        Exit::Partial,
        (
            "bloquerait un contrôleur",
            "La liste de blocage couvre un contrôleur de ce serveur.",
            "Retirez ce réseau de la liste.",
        ),
        (
            "would block a controller",
            "The block list covers a controller of this host.",
            "Take that network out of the list.",
        ),
    ),
    code(
        "E0422",
        Exit::Partial,
        (
            "trop de réponses en attente",
            "La boîte d'envoi du serveur est pleine : il n'admet plus d'ordre qui ouvre.",
            "Rétablissez la liaison du serveur avec un contrôleur.",
        ),
        (
            "too many answers waiting",
            "The host's outbox is full: it admits no order that opens.",
            "Restore the host's connection to a controller.",
        ),
    ),
];
