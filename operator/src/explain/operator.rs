//! Codes of the operator's command itself.

use super::{Entry, code};
use crate::problem::Exit;

/// The table, by code.
pub(super) const ENTRIES: &[Entry] = &[
    code(
        "E0601",
        Exit::Usage,
        (
            "argument refusé",
            "Une valeur de la ligne de commande n'a pas la forme attendue, ou deux options se contredisent.",
            "Corrigez la valeur ; « digue COMMANDE --help » montre la forme attendue.",
        ),
        (
            "argument refused",
            "A value of the command line does not have the expected form, or two options contradict each other.",
            "Correct the value; `digue COMMAND --help` shows the expected form.",
        ),
    ),
    code(
        "E0602",
        Exit::Usage,
        (
            "contexte introuvable",
            "Un contexte nomme un contrôleur, un dossier de confiance et des signataires. Aucun ne convient.",
            "Listez-les par « digue context list », ajoutez-en un par « digue context add », ou nommez-le par --context.",
        ),
        (
            "no such context",
            "A context names a controller, a trust folder and signers. None fits.",
            "List them with `digue context list`, add one with `digue context add`, or name one with --context.",
        ),
    ),
    code(
        "E0603",
        Exit::Usage,
        (
            "configuration invalide",
            "Un fichier TOML contient un champ inconnu, une valeur impossible, ou il manque un champ.",
            "Corrigez le fichier ; tous les problèmes trouvés sont listés d'un coup.",
        ),
        (
            "configuration not valid",
            "A TOML file holds an unknown field or an impossible value, or a field is missing.",
            "Correct the file; all problems found are listed at once.",
        ),
    ),
    code(
        "E0604",
        Exit::Failed,
        (
            "fichier illisible",
            "Le fichier n'existe pas, n'est pas lisible par vous, ou n'a pas la forme attendue.",
            "Vérifiez le chemin et les droits. Rien n'a été modifié.",
        ),
        (
            "file not readable",
            "The file does not exist, you may not read it, or it does not have the expected form.",
            "Check the path and the rights. Nothing was changed.",
        ),
    ),
    code(
        "E0605",
        Exit::Failed,
        (
            "écriture impossible",
            "Le dossier n'existe pas, n'est pas accessible en écriture, ou le disque est plein.",
            "Vérifiez le dossier et l'espace libre. L'ancien fichier, s'il existait, est intact.",
        ),
        (
            "cannot write",
            "The folder does not exist, you may not write to it, or the disk is full.",
            "Check the folder and the free space. The old file, if there was one, is untouched.",
        ),
    ),
    code(
        "E0606",
        Exit::Failed,
        (
            "le fichier existe déjà",
            "Rien n'est écrasé sans qu'on le demande, les clés jamais.",
            "Choisissez un autre nom, ou supprimez vous-même l'ancien fichier ; « digue plan » accepte --force.",
        ),
        (
            "the file exists already",
            "Nothing is overwritten unasked, and keys never.",
            "Choose another name, or delete the old file yourself; \"digue plan\" takes --force.",
        ),
    ),
    code(
        "E0607",
        Exit::Usage,
        (
            "confirmation nécessaire",
            "La commande demande une confirmation, et l'entrée n'est pas un terminal (ou --no-input est donné).",
            "Relisez l'effet annoncé, puis ajoutez --yes.",
        ),
        (
            "a confirmation is needed",
            "The command asks for a confirmation, and standard input is no terminal (or --no-input was given).",
            "Read the announced effect, then add --yes.",
        ),
    ),
    code(
        "E0608",
        Exit::Failed,
        (
            "non confirmé",
            "Le nombre tapé n'est pas celui qui était demandé.",
            "Rien n'a été fait. Vérifiez la sélection et recommencez.",
        ),
        (
            "not confirmed",
            "The number typed is not the one asked for.",
            "Nothing was done. Check the selection and start again.",
        ),
    ),
    code(
        "E0610",
        Exit::Failed,
        (
            "échec de ssh-keygen",
            "ssh-keygen fabrique et utilise les clés des personnes. Il manque, ou il a refusé (phrase secrète, clé absente, clé non touchée).",
            "Installez openssh-client, branchez la clé de sécurité ou chargez l'agent, puis recommencez.",
        ),
        (
            "ssh-keygen failed",
            "ssh-keygen makes and uses people's keys. It is missing, or it refused (passphrase, absent key, key not touched).",
            "Install openssh-client, plug the security key in or load the agent, then start again.",
        ),
    ),
    code(
        "E0611",
        Exit::Usage,
        (
            "signataire ou clé inconnu",
            "Le nom n'est ni un signataire du contexte, ni une clé du dossier de clés, ni un fichier.",
            "Listez les clés par « digue keys list » ; donnez le nom d'un signataire ou le chemin d'une clé.",
        ),
        (
            "unknown signer or key",
            "The name is neither a signer of the context, nor a key in the keys folder, nor a file.",
            "List the keys with `digue keys list`; give the name of a signer or the path of a key.",
        ),
    ),
    code(
        "E0612",
        Exit::NotAllowed,
        (
            "signature qui ne compte pas",
            "La clé n'est pas dans la racine de confiance, ou sa personne n'a pas le rôle que ce document demande.",
            "Signez avec la clé d'une personne qui a ce rôle (« digue trust show »).",
        ),
        (
            "signature that does not count",
            "The key is not in the trust root, or its person does not hold the role that this document needs.",
            "Sign with the key of a person who holds that role (`digue trust show`).",
        ),
    ),
    code(
        "E0620",
        Exit::Unreachable,
        (
            "contrôleur injoignable",
            "La connexion n'aboutit pas : contrôleur arrêté, réseau coupé, adresse fausse.",
            "Vérifiez « digue context list » et l'état du contrôleur. Ce qui est coupé reste coupé ; coupez à la main ce qui ne peut pas attendre.",
        ),
        (
            "controller unreachable",
            "The connection does not come about: controller stopped, network cut, wrong address.",
            "Check `digue context list` and the controller's state. What is cut stays cut; cut by hand what cannot wait.",
        ),
    ),
    code(
        "E0621",
        Exit::NotAllowed,
        (
            "accès refusé par le contrôleur",
            "Le jeton est faux, ou les droits du fichier de socket ne vous laissent pas passer.",
            "Vérifiez token_file, ou demandez l'appartenance au groupe de la socket.",
        ),
        (
            "the controller refuses access",
            "The token is wrong, or the rights of the socket file do not let you through.",
            "Check token_file, or ask for membership of the socket's group.",
        ),
    ),
    code(
        "E0622",
        Exit::Failed,
        (
            "le contrôleur a répondu par une erreur",
            "La demande est arrivée mais n'a pas été exécutée.",
            "Lisez la cause ci-dessus ; le journal du contrôleur en dit plus.",
        ),
        (
            "the controller answered with an error",
            "The request arrived but was not carried out.",
            "Read the cause above; the controller's log says more.",
        ),
    ),
    code(
        "E0623",
        Exit::Failed,
        (
            "réponse illisible",
            "La réponse n'est pas celle de l'API digue/v1 : autre programme, autre version, ou réponse tronquée.",
            "Vérifiez l'adresse du contexte et la version du contrôleur.",
        ),
        (
            "unreadable answer",
            "The answer is not that of the digue/v1 API: another program, another version, or a truncated answer.",
            "Check the address of the context and the controller's version.",
        ),
    ),
    code(
        "E0624",
        Exit::Failed,
        (
            "inconnu du contrôleur",
            "Aucun objet de ce nom : faute de frappe, ou jamais enregistré.",
            "Listez ce qui existe (digue hosts list, digue order list).",
        ),
        (
            "unknown to the controller",
            "No object of that name: a typing error, or never stored.",
            "List what exists (digue hosts list, digue order list).",
        ),
    ),
    code(
        "E0625",
        Exit::Tampering,
        (
            "certificat inattendu",
            "Le certificat présenté n'est pas celui épinglé dans le contexte : quelqu'un s'interpose, ou le contrôleur a été réinstallé.",
            "Ne contournez pas. Comparez l'empreinte sur place (digue-controller init), par un autre canal.",
        ),
        (
            "unexpected certificate",
            "The certificate presented is not the one pinned in the context: someone is in between, or the controller was installed anew.",
            "Do not bypass it. Compare the fingerprint on the spot (digue-controller init), by another channel.",
        ),
    ),
    code(
        "E0626",
        Exit::Unreachable,
        (
            "flux d'événements perdu",
            "Le contrôleur ne donne plus signe de vie. Ce qui est affiché n'est plus à jour.",
            "La commande se reconnecte d'elle-même ; sinon vérifiez le contrôleur.",
        ),
        (
            "event stream lost",
            "The controller gives no sign of life any more. What is shown is no longer up to date.",
            "The command reconnects by itself; otherwise check the controller.",
        ),
    ),
    code(
        "E0630",
        Exit::Usage,
        (
            "aucune racine de confiance",
            "Ce contexte n'a encore rien contre quoi vérifier ce que dit le contrôleur.",
            "Publiez la première (digue trust publish), ou récupérez-la avec son empreinte (digue trust fetch --root-sha256).",
        ),
        (
            "no trust root",
            "This context has nothing yet to hold what the controller says against.",
            "Publish the first one (digue trust publish), or fetch it by its digest (digue trust fetch --root-sha256).",
        ),
    ),
    code(
        "E0631",
        Exit::Tampering,
        (
            "chaîne de confiance invalide",
            "Les racines locales, l'empreinte épinglée et ce que présente le contrôleur ne s'accordent pas.",
            "Traitez-le comme une falsification : ne signez rien, comparez les empreintes par un autre canal.",
        ),
        (
            "chain of trust not valid",
            "The local roots, the pinned digest and what the controller presents do not agree.",
            "Treat it as tampering: sign nothing, compare the digests by another channel.",
        ),
    ),
    code(
        "E0632",
        Exit::Failed,
        (
            "racine de confiance refusée",
            "Son contenu enfreint une règle, ou il lui manque des signatures.",
            "Lisez la cause ; corrigez le brouillon ou ajoutez des signatures (digue trust sign).",
        ),
        (
            "trust root refused",
            "Its contents break a rule, or signatures are missing.",
            "Read the cause; correct the draft or add signatures (digue trust sign).",
        ),
    ),
    code(
        "E0633",
        Exit::MoreSignatures,
        (
            "signatures manquantes",
            "Ce document demande la signature de plusieurs personnes distinctes ; deux clés d'une même personne comptent pour une.",
            "Faites signer une autre personne : « digue approvals list », puis « digue approvals sign ».",
        ),
        (
            "signatures missing",
            "This document needs the signatures of several distinct persons; two keys of one person count once.",
            "Have another person sign: `digue approvals list`, then `digue approvals sign`.",
        ),
    ),
    code(
        "E0650",
        Exit::Tampering,
        (
            "fichier de plan incohérent",
            "Le fichier n'est pas un plan, ou il a été modifié depuis qu'il a été calculé.",
            "Ne le signez pas ; recalculez-le par « digue plan ».",
        ),
        (
            "plan file inconsistent",
            "The file is not a plan, or it was changed since it was computed.",
            "Do not sign it; compute it again with `digue plan`.",
        ),
    ),
    code(
        "E0651",
        Exit::Moved,
        (
            "le parc a changé depuis le plan",
            "L'état observé d'au moins un serveur visé n'est plus celui du plan.",
            "Recalculez par « digue plan », relisez, ou appliquez avec --replan.",
        ),
        (
            "the fleet changed since the plan",
            "The observed state of at least one target is no longer that of the plan.",
            "Compute it again with `digue plan`, read it again, or apply with --replan.",
        ),
    ),
    code(
        "E0652",
        Exit::Moved,
        (
            "expiré ou remplacé",
            "La date limite est passée, l'ordre a été annulé, ou un ordre plus récent a pris sa place.",
            "Recalculez un plan.",
        ),
        (
            "expired or superseded",
            "The time limit has passed, the order was cancelled, or a newer order took its place.",
            "Compute a new plan.",
        ),
    ),
    code(
        "E0653",
        Exit::Usage,
        (
            "ordre impossible",
            "L'ordre qui résulterait de ces options enfreint une règle du protocole.",
            "Lisez la cause et corrigez les options.",
        ),
        (
            "order not possible",
            "The order that would result from these options breaks a rule of the protocol.",
            "Read the cause and correct the options.",
        ),
    ),
    code(
        "E0654",
        Exit::Usage,
        (
            "aucune cible",
            "Ni --all, ni -l, ni nom de serveur, ou rien ne correspond à la sélection.",
            "Nommez les serveurs visés. Rien n'est visé par défaut.",
        ),
        (
            "no target",
            "Neither --all, nor -l, nor a host name, or nothing matches the selection.",
            "Name the hosts meant. Nothing is targeted by default.",
        ),
    ),
    code(
        "E0656",
        Exit::Failed,
        (
            "déclaration impossible",
            "Le serveur n'a pas de clé, n'a jamais été entendu, ou la déclaration enfreint une règle.",
            "Lisez la cause ; un serveur doit avoir rapporté avant d'être déclaré sain.",
        ),
        (
            "statement not possible",
            "The host has no key, was never heard, or the statement breaks a rule.",
            "Read the cause; a host must have reported before it is stated clean.",
        ),
    ),
    code(
        "E0661",
        Exit::Tampering,
        (
            "ordre incohérent",
            "Les cibles présentées ne sont pas celles que l'ordre signé désigne, ou ses octets ne se lisent pas.",
            "Ne signez pas. Traitez-le comme une falsification.",
        ),
        (
            "order inconsistent",
            "The targets presented are not those that the signed order designates, or its bytes do not read.",
            "Do not sign. Treat it as tampering.",
        ),
    ),
    code(
        "E0671",
        Exit::Failed,
        (
            "condition non remplie",
            "Au moins une partie de --expect n'est pas vraie maintenant.",
            "Regardez « digue status » et les serveurs listés.",
        ),
        (
            "expectation not met",
            "At least one part of --expect is not true now.",
            "Look at `digue status` and the hosts listed.",
        ),
    ),
    code(
        "E0680",
        Exit::Tampering,
        (
            "vérification échouée",
            "Une signature, une empreinte ou une chaîne ne tient pas.",
            "Traitez-le comme une falsification : conservez une copie du dossier du contrôleur et prévenez.",
        ),
        (
            "verification failed",
            "A signature, a digest or a chain does not hold.",
            "Treat it as tampering: keep a copy of the controller's folder and give the alarm.",
        ),
    ),
    code(
        "E0690",
        Exit::Timeout,
        (
            "délai écoulé",
            "L'attente est finie, l'ordre continue : le contrôleur le remettra aux serveurs qui reviennent.",
            "Suivez-le par « digue order watch ».",
        ),
        (
            "timeout reached",
            "The waiting is over, the order goes on: the controller will hand it to hosts that come back.",
            "Follow it with `digue order watch`.",
        ),
    ),
    code(
        "E0691",
        Exit::Partial,
        (
            "résultat partiel",
            "Au moins un serveur n'a pas été atteint, a refusé, a échoué ou n'est pas vérifié.",
            "« digue order show » donne le détail serveur par serveur.",
        ),
        (
            "partial result",
            "At least one host was not reached, refused, failed or is not verified.",
            "`digue order show` gives the detail host by host.",
        ),
    ),
];
