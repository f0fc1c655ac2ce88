//! The help in French. English stands beside each argument; a test holds this table complete.

/// Help texts by path: `hosts list` for a command, `hosts list.labels` for an argument, `*.sign` for an
/// argument that means the same wherever it stands.
const TEXTS: &[(&str, &str)] = &[
    ("", "Planifier, signer et suivre les ordres qui coupent des serveurs et les rouvrent"),
    ("*.context", "Contexte à utiliser ; par défaut : le contexte par défaut, ou le seul"),
    ("*.lang", "Langue ; par défaut : celle de l'environnement"),
    ("*.color", "Couleurs"),
    ("*.no_input", "Ne jamais rien demander ; échouer en nommant l'option"),
    ("*.yes", "Tenir chaque confirmation pour donnée. Ne remplace jamais une signature"),
    ("*.help", "Afficher l'aide"),
    ("*.version", "Afficher la version"),
    ("*.output", "Forme de la sortie"),
    ("*.json", "En JSON"),
    ("*.host", "Le serveur"),
    ("*.sign", "Signataire du contexte, ou fichier de clé ; peut être répété"),
    ("*.id", "L'ordre, ou les premiers chiffres de son nom"),
    ("*.timeout", "Durée maximale de l'attente : 90s, 30m, 12h"),
    ("*.wait", "Attendre que chaque serveur ait répondu pour de bon"),
    // État
    ("status", "Le parc en une phrase ; en liste, au fil de l'eau, ou comme condition"),
    ("status.labels", "Seulement les serveurs ainsi étiquetés : c=v, c!=v, séparés par des virgules"),
    ("status.state", "Seulement les serveurs dans cet état ; peut être répété, un seul suffit"),
    ("status.watch", "Une ligne par changement, jusqu'à interruption"),
    ("status.expect", "Sortir avec 1 si la condition n'est pas vraie : 'clean>=80% and exposed==0'"),
    // Serveurs
    ("hosts", "Les serveurs et l'inventaire signé"),
    ("hosts list", "Lister les serveurs"),
    ("hosts list.labels", "Seulement les serveurs ainsi étiquetés : c=v, c!=v, séparés par des virgules"),
    ("hosts show", "Montrer tout ce qui est connu d'un serveur"),
    ("hosts label", "Poser des étiquettes (c=v) ou les ôter (c-)"),
    ("hosts label.changes", "c=v ou c-"),
    ("hosts import", "Ajouter et modifier des serveurs depuis un fichier ; n'en retire jamais"),
    ("hosts import.file", "Le fichier ; - est l'entrée standard"),
    ("hosts import.from", "Nature du fichier"),
    ("hosts import.dry_run", "Montrer ce qui changerait, et ne rien changer"),
    ("hosts enroll", "Inscrire les clés des serveurs à l'inventaire"),
    ("hosts enroll.hosts", "Avec --accept : seulement ces serveurs"),
    (
        "hosts enroll.ssh",
        "Lancer l'initialisation de l'agent par SSH : HÔTE ou HÔTE=UTILISATEUR@ADRESSE ; peut être répété",
    ),
    ("hosts enroll.invite", "Tirer un secret d'enrôlement pour un serveur et donner le fichier à y porter"),
    ("hosts enroll.accept", "Accepter les demandes des serveurs invités"),
    (
        "hosts enroll.key",
        "Inscrire une clé portée à la main : HÔTE=CLÉPUBLIQUE ou HÔTE=FICHIER ; peut être répété",
    ),
    (
        "hosts enroll.keys_from",
        "Inscrire les clés des lignes affichées par « digue-agent init » ; - est l'entrée standard",
    ),
    ("hosts enroll.add_missing", "Ajouter aussi les serveurs que l'inventaire ne nomme pas"),
    ("hosts enroll.ssh_command", "Programme SSH et ses options"),
    ("hosts enroll.agent_command", "Commande sur le serveur, par exemple « sudo -n digue-agent init »"),
    ("hosts retire", "Retirer un serveur de l'inventaire"),
    ("hosts retire.reason", "Pourquoi ; affiché pour la main courante"),
    (
        "hosts renew",
        "Signer de nouveau l'inventaire tel quel, après une racine qui a retiré la clé d'un signataire",
    ),
    ("hosts is-clean", "Sortir avec 0 si le serveur est sain confirmé et en contact, sinon 1"),
    ("hosts is-cut", "Sortir avec 0 si ses liens sont coupés, vérifiés et en contact, sinon 1"),
    // Plans
    ("plan", "Calculer ce qu'un ordre ferait, et le figer"),
    ("plan cut", "Couper les liens externes ; les réseaux internes restent ouverts"),
    ("plan isolate", "Isoler : seuls les contrôleurs et les flux gardés restent ouverts"),
    (
        "plan dark",
        "Tout fermer : rien ne reste ouvert, pas même les contrôleurs ; aucun ordre ne rouvre par le réseau",
    ),
    ("plan adjust", "Changer un endiguement vers quelque chose de peut-être plus ouvert"),
    ("plan adjust.isolate", "Isoler au lieu de couper"),
    ("plan release", "Rouvrir les serveurs confirmés sains"),
    (
        "plan release.without_verdict",
        "Aussi sans déclaration de santé : demande trois personnes et figure dans chaque rapport",
    ),
    ("plan block", "Bloquer des réseaux dans les deux sens, en plus de ceux qui le sont"),
    ("plan block.net", "Réseau ou adresse ; peut être répété"),
    ("plan unblock", "Laisser de nouveau passer des réseaux bloqués"),
    ("plan unblock.net", "Réseau ou adresse, tel qu'il figure dans la liste ; peut être répété"),
    ("plan report", "Demander un rapport complet"),
    ("*.allow_self_cut", "L'ordre peut couper l'agent de ses propres contrôleurs"),
    ("plan *.hosts", "Serveurs par nom, séparés par des virgules ou des espaces"),
    (
        "plan *.labels",
        "Serveurs par étiquette : c=v, c!=v, séparés par des virgules ; toutes doivent être vraies, aussi d'une option à l'autre",
    ),
    ("plan *.all", "Tous les serveurs de l'inventaire signé"),
    ("plan *.incident", "L'incident, comme dans la main courante"),
    ("plan *.reason", "Pourquoi, en une phrase ; elle est signée et montrée partout"),
    ("plan *.ttl", "Combien de temps l'ordre peut être remis : 90s, 30m, 12h, 2d"),
    ("plan *.output", "Fichier à écrire ; - est la sortie standard"),
    ("plan *.force", "Remplacer le fichier s'il existe"),
    ("plan *.detailed_exitcode", "Sortir avec 20 si le plan ferait quelque chose"),
    (
        "plan *.keep",
        "Flux qui reste ouvert : ssh-from=RÉSEAU, in:tcp:PAIR:PORT, out:udp:PAIR:PORT ; peut être répété",
    ),
    ("plan *.keep_owner", "La personne qui répond des flux gardés ; par défaut : le nom de l'utilisateur"),
    ("plan *.internal", "Réseau interne qu'une coupure laisse ouvert ; par défaut : ceux du contexte"),
    ("plan *.controller_address", "Adresse d'un contrôleur ; par défaut : celles du contexte"),
    (
        "plan *.on_lost_management",
        "Si aucun contrôleur n'est joignable : hold (maintenir), ou reopen-after=DURÉE (demande les signatures d'une réouverture)",
    ),
    ("diff", "Montrer les règles qu'un plan mettrait en place"),
    ("*.plan", "Le fichier de plan"),
    ("diff.host", "Seulement ce serveur"),
    ("apply", "Signer un plan, l'envoyer, et attendre la preuve"),
    (
        "apply.sign",
        "Signataire du contexte, ou fichier de clé ; à répéter pour plusieurs personnes à ce poste",
    ),
    ("apply.canary", "Envoyer aux N premiers serveurs, attendre leur preuve, puis à tous"),
    ("apply.max_failed", "Échecs tolérés parmi les premiers : un nombre ou un pourcentage"),
    ("apply.replan", "Si le parc a changé depuis le plan, le recalculer au lieu de s'arrêter"),
    // Ordres
    ("order", "Les ordres"),
    ("order list", "Lister les ordres"),
    ("order show", "Montrer un ordre d'après ses octets signés, et où il en est sur chaque serveur"),
    ("order watch", "Suivre un ordre jusqu'à ce que chaque serveur ait répondu pour de bon"),
    ("order sign", "Ajouter une signature à un ordre qui en attend"),
    (
        "order verify",
        "Vérifier un ordre ou un lot par les racines locales ; aucun contrôleur n'est nécessaire",
    ),
    ("order verify.file", "Le fichier ; - est l'entrée standard"),
    ("order cancel", "Retirer un ordre qui attend encore des signatures"),
    ("order export", "Écrire un ordre en fichiers séparés que les outils courants vérifient"),
    ("order export.dir", "Dossier à créer"),
    ("approvals", "Ce qui attend une signature"),
    ("approvals list", "Lister ce qui attend"),
    ("approvals show", "En montrer un d'après ses octets"),
    ("approvals show.id", "Un ordre ou une déclaration, ou les premiers chiffres"),
    ("approvals sign", "En montrer un d'après ses octets, et les signer"),
    ("approvals sign.id", "Un ordre ou une déclaration, ou les premiers chiffres"),
    ("verdict", "Ce que des personnes déclarent des serveurs"),
    ("verdict list", "Lister les déclarations en vigueur"),
    ("verdict list.host", "Seulement sur ce serveur"),
    ("verdict set", "Déclarer des serveurs sains, suspects ou compromis, et le signer"),
    ("verdict set.hosts", "Serveurs par nom, séparés par des virgules ; ou choisis par -l ou --all"),
    (
        "verdict set.labels",
        "Serveurs par étiquette : c=v, c!=v, séparés par des virgules ; toutes doivent être vraies, aussi d'une option à l'autre",
    ),
    ("verdict set.all", "Tous les serveurs de l'inventaire signé"),
    ("verdict set.verdict", "Ce qui est déclaré"),
    ("verdict set.reason", "Pourquoi ; c'est signé et montré partout"),
    (
        "verdict set.assurance",
        "Force d'une déclaration de santé : L1 l'agent seul, L2 aussi une vue que le serveur ne peut pas falsifier, L3 reconstruit ou restauré",
    ),
    ("verdict set.valid", "Combien de temps tient une déclaration de santé"),
    ("verdict set.evidence", "SHA-256 d'un document sur lequel elle repose ; peut être répété"),
    ("verdict sign", "Ajouter une signature à une déclaration qui en attend"),
    ("verdict sign.digest", "L'empreinte de la déclaration, ou ses premiers chiffres"),
    ("audit", "Les archives du contrôleur"),
    ("audit verify", "Vérifier chaque document archivé ; sortir avec 12 si l'un ne tient pas"),
    // Clés et confiance
    ("keys", "Les clés des personnes"),
    ("keys init", "Créer une clé réservée à une personne"),
    ("keys init.name", "Le nom de la personne"),
    ("keys init.dir", "Dossier de la paire de clés ; par défaut : le dossier de clés de la configuration"),
    ("keys init.kind", "Nature de la clé ; ed25519-sk vit dans une clé de sécurité FIDO"),
    ("keys init.no_passphrase", "Sans phrase secrète : pour les laboratoires jetables seulement"),
    ("keys list", "Lister les clés à portée"),
    ("keys show", "Montrer une clé publique et son empreinte"),
    ("keys show.name", "Un signataire du contexte, une clé créée par « keys init », ou un fichier"),
    ("keys export", "Écrire le fichier allowed_signers pour « ssh-keygen -Y verify »"),
    ("keys export.output", "Fichier à écrire ; sans lui, la sortie standard"),
    ("trust", "La racine de confiance : qui peut signer quoi"),
    ("trust init", "Préparer la première racine de confiance"),
    (
        "trust init.person",
        "Une personne, une clé publique et des rôles : alice=alice.pub:root,protect ou :all ; répéter pour d'autres clés",
    ),
    ("trust init.controller", "Un contrôleur et le SHA-256 de sa clé publique"),
    ("trust init.threshold", "Personnes nécessaires pour un rôle ; jamais sous le minimum compilé"),
    ("trust init.require_pin", "Les clés de sécurité doivent aussi contrôler un code ou un doigt"),
    ("trust init.output", "Fichier à écrire"),
    ("trust rotate", "Préparer la racine qui suit l'actuelle"),
    ("trust rotate.add_person", "Ajouter une personne, ou une clé et des rôles à une personne"),
    ("trust rotate.remove_person", "Retirer une personne avec toutes ses clés et ses rôles"),
    ("trust rotate.remove_key", "Retirer une clé par son empreinte"),
    ("trust rotate.add_controller", "Ajouter ou remplacer un contrôleur"),
    ("trust rotate.remove_controller", "Retirer un contrôleur"),
    ("trust rotate.threshold", "Personnes nécessaires pour un rôle"),
    ("trust rotate.bump_epoch", "Élever l'époque : les ordres numérotés sous l'ancienne ne comptent plus"),
    ("trust rotate.inventory_min_version", "N'accepter aucun inventaire plus ancien"),
    (
        "trust rotate.require_pin",
        "Les nouvelles clés de sécurité doivent aussi contrôler un code ou un doigt",
    ),
    ("trust rotate.output", "Fichier à écrire"),
    ("trust sign", "Signer un brouillon ; la signature est posée à côté"),
    ("trust sign.file", "Le brouillon"),
    ("trust publish", "Vérifier un brouillon signé, le garder, et le remettre au contrôleur"),
    ("trust publish.file", "Le brouillon, avec ses signatures à côté"),
    ("trust publish.offline", "Le garder seulement ; le contrôleur n'est pas contacté"),
    (
        "trust fetch",
        "Prendre la chaîne de racines du contrôleur, contrôlée par une empreinte venue d'ailleurs",
    ),
    ("trust fetch.root_sha256", "SHA-256 de la racine version 1, dit par qui l'a faite"),
    ("trust show", "Montrer la racine de confiance en vigueur"),
    // Contextes et divers
    ("context", "Les contextes : contrôleur, dossier de confiance, signataires"),
    ("context add", "Ajouter un contexte"),
    ("context add.name", "Son nom"),
    ("context add.controller", "« unix:///…/api.sock » ou « https://HÔTE:PORT »"),
    ("context add.certificate_sha256", "SHA-256 du certificat du contrôleur (https)"),
    ("context add.token_file", "Fichier qui contient le jeton d'accès (https)"),
    ("context add.trust_dir", "Dossier des racines de confiance"),
    ("context add.signer", "Une personne et la clé à portée ; peut être répété"),
    (
        "context add.controller_address",
        "Adresse où les agents joignent un contrôleur pendant une coupure ; peut être répété",
    ),
    ("context add.internal", "Réseau interne qu'une coupure laisse ouvert ; peut être répété"),
    ("context add.default", "En faire le contexte par défaut"),
    ("context list", "Lister les contextes"),
    ("context use", "Faire d'un contexte celui par défaut"),
    ("context use.name", "Son nom"),
    ("explain", "Expliquer un code tel que E0412"),
    ("explain.code", "Le code, E0412 ou digue-E0412 ; sans lui, tous les codes sont listés"),
    ("completion", "Afficher un script de complétion"),
    ("completion.shell", "L'interpréteur de commandes"),
    ("version", "Afficher la version"),
    ("version.verbose", "Aussi ce que le programme sait parler"),
];

/// The keys under which a text may stand, the most precise first.
fn keys(path: &str, argument: Option<&str>) -> Vec<String> {
    let Some(argument) = argument else { return vec![path.to_owned()] };
    let noun = path.split(' ').next().unwrap_or_default();
    vec![format!("{path}.{argument}"), format!("{noun} *.{argument}"), format!("*.{argument}")]
}

/// The French help of a command, or of one of its arguments.
pub(crate) fn text(path: &str, argument: Option<&str>) -> Option<&'static str> {
    let find = |key: &String| TEXTS.iter().find(|(known, _)| known == key).map(|(_, text)| *text);
    keys(path, argument).iter().find_map(find)
}

/// Texts that no command or argument of `paths` (`hosts list.labels`) uses.
#[cfg(test)]
pub(crate) fn unused(paths: &[&str]) -> Vec<&'static str> {
    let used: Vec<String> = paths
        .iter()
        .filter_map(|path| {
            let (command, argument) = path.split_once('.').map_or((*path, None), |(c, a)| (c, Some(a)));
            keys(command, argument).into_iter().find(|key| TEXTS.iter().any(|(known, _)| known == key))
        })
        .collect();
    TEXTS.iter().map(|(key, _)| *key).filter(|key| !used.iter().any(|u| u == key)).collect()
}
