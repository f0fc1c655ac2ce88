//! Codes about the signed inventory, imports and enrolment.

use super::{Entry, code};
use crate::problem::Exit;

/// The table, by code.
pub(super) const ENTRIES: &[Entry] = &[
    code(
        "E0640",
        Exit::Usage,
        (
            "serveur inconnu de l'inventaire",
            "Seuls les serveurs de l'inventaire signé comptent.",
            "Vérifiez le nom (digue hosts list -o name), ou ajoutez le serveur (digue hosts import).",
        ),
        (
            "host unknown to the inventory",
            "Only hosts of the signed inventory count.",
            "Check the name (digue hosts list -o name), or add the host (digue hosts import).",
        ),
    ),
    code(
        "E0641",
        Exit::Failed,
        (
            "inventaire CSV refusé",
            "Au moins une ligne n'est pas utilisable. Rien n'a été importé.",
            "Corrigez les lignes et colonnes listées, puis relancez avec --dry-run.",
        ),
        (
            "CSV inventory refused",
            "At least one line cannot be used. Nothing was imported.",
            "Correct the lines and columns listed, then run again with --dry-run.",
        ),
    ),
    code(
        "E0642",
        Exit::Failed,
        (
            "inventaire Ansible refusé",
            "Le fichier n'est pas la sortie de « ansible-inventory --list ».",
            "Produisez-le par : ansible-inventory -i VOTRE_INVENTAIRE --list > inventaire.json",
        ),
        (
            "Ansible inventory refused",
            "The file is not the output of `ansible-inventory --list`.",
            "Make it with: ansible-inventory -i YOUR_INVENTORY --list > inventory.json",
        ),
    ),
    code(
        "E0643",
        Exit::Failed,
        (
            "fichier de clés refusé",
            "Chaque ligne doit être un objet JSON avec host_id et host_key, pour un serveur de l'inventaire.",
            "Corrigez la ligne nommée ; --add-missing ajoute les serveurs inconnus.",
        ),
        (
            "key file refused",
            "Each line must be a JSON object with host_id and host_key, for a host of the inventory.",
            "Correct the line named; --add-missing adds unknown hosts.",
        ),
    ),
    code(
        "E0644",
        Exit::Tampering,
        (
            "demande d'enrôlement fausse",
            "Le code d'authentification ne correspond pas au secret remis à ce serveur, ou la clé du contrôleur vue par le serveur n'est pas dans la racine.",
            "N'acceptez pas. Enrôlez ce serveur par SSH, ou remettez-lui un nouveau secret en main propre.",
        ),
        (
            "forged enrolment request",
            "The authentication code does not match the secret given to this host, or the controller key that the host saw is not in the root.",
            "Do not accept. Enrol this host over SSH, or hand it a new secret in person.",
        ),
    ),
    code(
        "E0645",
        Exit::Partial,
        (
            "enrôlement incomplet",
            "Au moins un serveur n'a pas pu être enrôlé ; les autres l'ont été.",
            "Lisez la cause de chaque serveur et relancez pour ceux-là.",
        ),
        (
            "enrolment incomplete",
            "At least one host could not be enrolled; the others were.",
            "Read the cause for each host and run again for those.",
        ),
    ),
    code(
        "E0646",
        Exit::Tampering,
        (
            "inventaire signé invalide",
            "L'inventaire présenté par le contrôleur ne porte pas les signatures demandées, ou recule.",
            "Traitez-le comme une falsification : ne signez rien à partir de cette vue.",
        ),
        (
            "signed inventory not valid",
            "The inventory that the controller presents does not carry the signatures asked for, or goes back.",
            "Treat it as tampering: sign nothing on the basis of this view.",
        ),
    ),
    code(
        "E0647",
        Exit::Failed,
        (
            "modification de l'inventaire refusée",
            "L'inventaire qui en résulterait enfreint une règle (clé en double, texte trop long, limite).",
            "Lisez la cause ; rien n'a été modifié.",
        ),
        (
            "inventory change refused",
            "The resulting inventory would break a rule (key twice, text too long, limit).",
            "Read the cause; nothing was changed.",
        ),
    ),
];
