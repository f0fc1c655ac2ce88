# Ce que dit « digue » en français. Mêmes clés et mêmes variables que dans en.ftl (vérifié par un test).
count-servers = { $count ->
    [one] { $count } serveur
   *[other] { $count } serveurs
}
yes = oui
no = non
unit-day = j
word-order = ordre

column-host = HÔTE
column-verdict = VERDICT
column-links = LIENS
column-exposed = EXPOSÉ
column-heard = DERNIER CONTACT
column-level = NIVEAU
column-site = SITE
column-role = RÔLE
column-order = ORDRE
column-remarks = REMARQUES
column-name = NOM
column-kind = TYPE
column-fingerprint = EMPREINTE
column-file = FICHIER
column-default = DÉFAUT
column-controller = CONTRÔLEUR
column-signers = SIGNATAIRES
column-trust = DOSSIER DE CONFIANCE

verdict-unassessed = non évalué
verdict-no-finding = examiné, rien trouvé
verdict-suspect = suspect
verdict-compromised = compromis
verdict-clean = sain confirmé
links-unmeasured = jamais mesurés
links-open = ouverts
links-cutting = coupure en cours
links-cut = coupés (vérifié)
links-releasing = réouverture en cours
links-failed = échec de coupure
phase-waiting = en attente
phase-sent = envoyé
phase-acknowledged = reçu
phase-applied = appliqué
phase-verified = vérifié
phase-failed = échec
phase-refused = refusé
phase-superseded = remplacé
order-awaiting = signatures attendues
order-sealed = signé, en route
order-cancelled = annulé
order-all-verified = signé, vérifié partout

host-never-enrolled = jamais enrôlé
host-never-heard = jamais entendu
host-heard = il y a { $ago }
host-no-contact = sans contact depuis { $ago }
host-gap = documents { $gap } manquants
host-lapsed = caduc car
host-key = clé de l'agent
host-addresses = adresses
host-labels = étiquettes
host-drift = écarts
host-alarms = alarmes
host-gaps = documents manquants
host-stays-open = reste ouvert
host-blocked = bloqué
host-order = ordre en vigueur
host-awaited = ordres en attente
host-profile = profil
profile-observe = aucun endiguement
profile-cut = coupé (réseaux internes ouverts)
profile-isolate = isolé
profile-dark = éteint
host-retired = { $at }  { $host } retiré de l'inventaire : { $reason }
host-unknown = { $host }
proof-read-back = (a) règles relues
proof-probes = (b) sondes en échec
proof-outside = (c) sonde extérieure
proof-management = (d) administration
check-not-done = non fait
check-not-possible = impossible : { $detail }

open-everything = tout (aucun endiguement)
open-nothing = rien que la boucle locale, pas même les contrôleurs ; plus aucun ordre n'atteint ces serveurs, et cette version n'a pas encore de navette pour les rouvrir
open-controllers = contrôleurs { $list }
open-internal = réseaux internes { $list }
open-inbound = { $flow } depuis { $peer }
open-outbound = { $flow } vers { $peer }
open-until = , jusqu'au { $at }
lost-hold = maintenir la coupure
lost-reopen = rouvrir après { $after }

status-answer = { $clean ->
    [one] { $clean } sain confirmé
   *[other] { $clean } sains confirmés
} sur { $expected }, { $exposed ->
    [one] { $exposed } exposé
   *[other] { $exposed } exposés
}    données à { $at } ({ $zone })
status-cut = coupés et vérifiés { $count }
status-failed = échecs de coupure { $count }
status-compromised = compromis { $count }
status-suspect = suspects { $count }
status-no-finding = rien trouvé { $count }
status-unassessed = non évalués { $count }
status-stale = sans contact { $count }
status-never = jamais enrôlés { $count }
expect-unmet = { $list }
watch-lost = { $at }  FLUX COUPÉ : plus de nouvelles de { $address } ; ce qui est affiché n'est plus à jour
watch-new = nouveau dans l'inventaire
watch-back = contact rétabli
watch-silent = sans contact

confirm-needs-yes = ajoutez --yes
confirm-inventory = { $count ->
    [one] Tapez { $count } pour modifier { $count } serveur de l'inventaire
   *[other] Tapez { $count } pour modifier { $count } serveurs de l'inventaire
}
confirm-enroll = { $count ->
    [one] Tapez { $count } pour inscrire la clé de { $count } serveur
   *[other] Tapez { $count } pour inscrire les clés de { $count } serveurs
}
confirm-retire = Tapez 1 pour retirer { $host } de l'inventaire
confirm-renew = Tapez { $count } pour signer de nouveau l'inventaire de { $count } serveurs
touch-the-key = Touchez la clé de sécurité…
signed-by = signé par { $name } ({ $kind })
signature-not-counted = { $path }
signature-no-role = { $path } : { $name } n'a pas le rôle « { $role } » ; l'ont : { $holders }
signature-nobody = { $path } : cette clé n'est à personne dans la racine de confiance ; le rôle « { $role } » est à : { $holders }
signature-same-person = { $path } : cette personne avait déjà signé ; deux clés d'une même personne comptent pour une
signatures-repeat = { $have } sur { $need } ; répétez --sign pour chaque personne
signer-unknown = { $name } ; ce contexte connaît { $known }

file-not-read = { $path }
file-not-written = { $path }
file-exists = { $path }
key-unreadable = { $path } ne contient pas de clé publique utilisable
keygen-failed = { $what }
keygen-sign-failed = signature avec { $path }
keys-made = Paire de clés { $path } créée. Gardez la moitié privée pour vous ; donnez la moitié publique à qui prépare la racine de confiance.
keys-exported = { $path } : { $count ->
    [one] { $count } clé
   *[other] { $count } clés
}
keys-file-refused = { $path }

config-bad = { $path }
context-bad-name = { $name } : lettres, chiffres, - et _ seulement
context-none = il n'y en a pas encore
context-many = il y en a plusieurs ({ $names }) et aucun par défaut
context-unknown = { $name } ; connus : { $known }
context-refused = { $name }
context-added = Contexte { $name } ajouté.
context-default = { $name } est le contexte par défaut.

controller-unreachable = { $address }
controller-refuses = { $address }
controller-error = { $status } pour { $path }
controller-says = { $said }
controller-not-found = { $path }
controller-unreadable = { $path }
certificate-wrong = { $address }
stream-lost = { $address }
request-bad = { $path }

trust-none = rien d'épinglé dans { $path }
trust-bad-pin = { $path } ne contient pas d'empreinte SHA-256
trust-bad-root = { $path }
trust-bad-chain = { $path }
trust-other-pin = { $found } est présentée, { $pinned } est épinglée ici
trust-root-refused = elle ne se vérifie pas
trust-forked = une autre racine version { $version } que celle détenue ici
trust-extended = La racine de confiance version { $version } est en vigueur.
trust-draft-refused = le brouillon enfreint une règle
trust-not-a-root = { $path }
trust-no-person = { $name } n'est pas dans la racine
trust-no-key = { $fingerprint } n'est pas dans la racine
trust-drafted = Brouillon de la racine de confiance version { $version } : { $path }
    À comparer de vive voix avant de signer : { $words }
    Rien n'a été envoyé. Ensuite : digue trust sign { $path } --sign NOM
trust-signed-so-far = { $count ->
    [one] { $count } personne a signé : { $names }
   *[other] { $count } personnes ont signé : { $names }
}
trust-published = Racine de confiance version { $version } conservée : { $words }
trust-controller-none = le contrôleur n'en a pas
trust-title = Racine de confiance version { $version }  { $digest }
    { $words }
trust-person = { "  " }{ $name } : { $roles }
trust-thresholds = Personnes nécessaires : { $list }
trust-controller = Contrôleur { $name } : { $pin }
trust-epoch = Époque { $epoch }, plus ancien inventaire accepté { $floor }

fleet-ghost = ATTENTION : le contrôleur montre { $host }, que l'inventaire signé ne nomme pas. Il est écarté.
fleet-hidden = ATTENTION : le contrôleur ne montre rien pour { $host }, qui est dans l'inventaire signé. Il compte comme jamais mesuré.
fleet-other-key = ATTENTION : le contrôleur montre { $host } avec une autre clé que l'inventaire signé. Il compte comme jamais mesuré.
fleet-unproven = ATTENTION : le contrôleur montre { $list } comme coupés ou sains ; ce que les serveurs et les personnes ont signé ne le dit pas. Ils comptent selon ce qui est signé. À traiter comme une falsification.
fleet-untimely = ATTENTION : les derniers documents signés par { $list } portent une tout autre heure que ce poste. Ils comptent comme sans contact. Ou bien une horloge est fausse, ici ou là-bas, ou bien le contrôleur montre d'anciens documents. Pour en être sûr, interroger les serveurs : digue plan report
fleet-other-time = ATTENTION : la vue du contrôleur est de { $at } à sa propre horloge, ce qui n'est pas l'heure de ce poste.
inventory-replaced = ATTENTION : l'inventaire version { $version }, signé par { $names }, met une autre machine (clé ou incarnation) sous le nom de { $list }. Si personne ne les a reconstruits, à traiter comme une falsification.
inventory-gone = ATTENTION : l'inventaire version { $version }, signé par { $names }, ne nomme plus { $list }.
inventory-forked = un autre inventaire de la même version { $version } a déjà été vu ici : deux ont été signés
order-sealed-without = le contrôleur dit l'ordre { $id } signé et en route, mais ses signatures ne suffisent pas
inventory-none = il n'y a pas encore d'inventaire signé
inventory-not-verified = il ne se vérifie pas
inventory-older-root = ATTENTION : l'inventaire version { $version } ne compte que sous une racine de confiance plus ancienne. Relisez-le et signez-le de nouveau : digue hosts renew --sign NOM
inventory-went-back = la version { $found } est présentée, la version { $seen } a déjà été vue ici
inventory-disagrees = la vue compte un autre inventaire que celui qui est signé
inventory-refused = il ne serait pas valide
inventory-accepted = Inventaire version { $version } accepté : { $count ->
    [one] { $count } serveur
   *[other] { $count } serveurs
}
retire-contained = { $host } est endigué. Hors de l'inventaire il reste coupé, et plus aucun ordre ne l'atteindra.
import-refused = { $path } : { $count ->
    [one] { $count } problème
   *[other] { $count } problèmes
}
import-ambiguous = ? { $name } a l'adresse { $address } de { $existing } : renommé, ou autre serveur ? Écarté ; nommez les deux dans le fichier, ou renommez à la main.
import-missing = = { $count ->
    [one] { $count } serveur de l'inventaire n'est pas dans le fichier et reste : { $names }
   *[other] { $count } serveurs de l'inventaire ne sont pas dans le fichier et restent : { $names }
}
import-counts = ajoutés { $added }, modifiés { $changed }, inchangés { $unchanged }, ambigus { $ambiguous }

enroll-hosts-without-accept = des noms de serveurs vont avec --accept
enroll-invited = Secret d'enrôlement de { $host } tiré. Portez ce fichier au serveur, lancez son agent avec --join-secret-file, puis : digue hosts enroll --accept
enroll-not-invited = { $host } demande à entrer (depuis { $peer }) mais n'a pas été invité ici : ignoré
enroll-nothing = Aucune demande à accepter.
enroll-first = { $host }  clé { $key }
enroll-added = { $host }  clé { $key }  nouveau dans l'inventaire
enroll-rebuilt = { $host }  clé { $key }  AUTRE CLÉ qu'avant : le serveur compte comme reconstruit, les ordres et verdicts antérieurs ne le concernent plus
enroll-unchanged = { $host }  clé { $key }  inchangée
enrol-forged = { $host }
enrol-twice = { $host } demande deux fois
enrol-ssh-failed = { $host }
report-not-by-host = { $host }

explain-unknown = aucun code { $code } ; tous : digue explain
explain-exit = code de sortie { $exit }
target-none = dites --all, -l C=V ou nommez des serveurs
target-contradicts = --all, -l et des noms s'excluent
target-empty = aucun serveur n'a toutes ces étiquettes ; l'inventaire connaît { $known }

column-action = ACTION
column-at = À
column-digest = EMPREINTE
column-id = ID
column-incident = INCIDENT
column-issued = ÉMIS
column-phase = ÉTAPE
column-reason = MOTIF
column-signatures = SIGNATURES
column-state = ÉTAT
column-valid = VALABLE JUSQU'À
column-verified = VÉRIFIÉS
column-what = OBJET

plan-bad = { $path }
plan-counts = Sélection : { $chosen }, visés { $targets }, inchangés { $unchanged }, laissés de côté { $left }
plan-empty-text = --reason et --incident ne peuvent pas être vides
plan-expired = la date limite est passée à { $at }
plan-impossible = le protocole ne le permet pas
plan-left-out = Laissés de côté, { $why } : { $list }
plan-moved = { $list }
plan-nothing = Rien à faire : aucun ordre ne serait envoyé.
plan-other-deployment = le plan vient d'un autre contexte
plan-other-root = le plan a été fait sous la racine de confiance version { $version }, d'une autre époque ou plus récente que celle détenue ici
plan-stale = Sans contact, l'ordre les attend : { $list }
plan-unchanged = Inchangés, ils ne reçoivent pas d'ordre : { $list }
plan-kept = Plan écrit dans { $path }, pour mémoire. Il n'y a rien à signer.
plan-written = Plan écrit dans { $path }. Rien n'est signé et rien n'a été envoyé. Ensuite : digue diff { $path }, puis digue apply { $path } --sign NOM --wait
unblock-unknown = { $network } n'est bloqué sur aucun de ces serveurs
block-controller = la liste couvre le contrôleur { $address }
why-never-enrolled = jamais enrôlés
why-not-clean = non confirmés sains
why-statement = la déclaration de santé ne tient pas ici ({ $detail })
why-no-challenge = aucun défi connu
relaxes-profile = un profil plus ouvert
relaxes-internal = des réseaux internes
relaxes-controllers = des contrôleurs
relaxes-exceptions = des exceptions
relaxes-lost = la réouverture sans contrôleur
relaxes-blocked = des adresses bloquées
adjust-opens = ATTENTION : cet ordre ouvre davantage ({ $what }) : { $list }
adjust-stays-isolated = { "  " }Pour les garder isolés, ajoutez --isolate.
adjust-closes = Cet ordre retire ce qui était ouvert ({ $what }) : { $list }
    « adjust » remplace tout : répétez chaque --keep à garder.
plan-next-verdict = Pour les déclarer sains, après examen : digue verdict set SERVEUR,… clean --assurance L1 --reason … --sign NOM --sign NOM
why-would-relax = l'ordre ouvrirait quelque chose ({ $what }) : utilisez « plan adjust »
why-not-contained = non endigués
why-drill = déjà endigués, et l'ordre rouvrirait de lui-même
host-not-in-plan = { $host } ne reçoit pas d'ordre par ce plan

order-title = Ordre { $id }  sha256 { $digest }
order-words = À comparer de vive voix : { $words }
order-effect = { $effect } : { $who }
order-everyone = tout serveur qui fait confiance à cette racine
order-stays-open = Reste ouvert :
order-lost = Si aucun contrôleur n'est joignable : { $what }
order-self-cut = L'ordre peut couper l'agent de ses propres contrôleurs.
order-with-verdict = { $count ->
    [one] La déclaration de santé de { $count } serveur est jointe ; son agent la vérifie.
   *[other] Les déclarations de santé de { $count } serveurs sont jointes ; chaque agent vérifie la sienne.
}
order-without-verdict = SANS VERDICT : aucune déclaration de santé n'est jointe. Demande trois personnes et figure dans chaque rapport.
order-blocked = Bloqués dans les deux sens : { $list }
order-why = Incident { $incident } : { $reason }
order-until = Remis jusqu'au { $at }
order-signatures = { $count ->
    [one] Signatures requises : { $count } ({ $class })
   *[other] Signatures requises : { $count } personnes distinctes ({ $class })
}
effect-cut = { $count ->
    [one] Couper { $count } serveur
   *[other] Couper { $count } serveurs
}
effect-isolate = { $count ->
    [one] Isoler { $count } serveur
   *[other] Isoler { $count } serveurs
}
effect-dark = { $count ->
    [one] Éteindre tous les liens de { $count } serveur
   *[other] Éteindre tous les liens de { $count } serveurs
}
effect-adjust = { $count ->
    [one] Changer l'endiguement de { $count } serveur, peut-être vers plus ouvert
   *[other] Changer l'endiguement de { $count } serveurs, peut-être vers plus ouvert
}
effect-release = { $count ->
    [one] Rouvrir { $count } serveur
   *[other] Rouvrir { $count } serveurs
}
effect-block = { $count ->
    [one] Bloquer des adresses sur { $count } serveur
   *[other] Bloquer des adresses sur { $count } serveurs
}
effect-unblock = { $count ->
    [one] Changer les adresses bloquées de { $count } serveur, peut-être vers moins
   *[other] Changer les adresses bloquées de { $count } serveurs, peut-être vers moins
}
effect-report = { $count ->
    [one] Demander un rapport complet à { $count } serveur
   *[other] Demander un rapport complet à { $count } serveurs
}
prompt = { $question } :
confirm-cut = { $count ->
    [one] Tapez { $count } pour couper { $count } serveur
   *[other] Tapez { $count } pour couper { $count } serveurs
}
confirm-isolate = { $count ->
    [one] Tapez { $count } pour isoler { $count } serveur
   *[other] Tapez { $count } pour isoler { $count } serveurs
}
confirm-dark = { $count ->
    [one] Tapez { $count } pour éteindre tous les liens de { $count } serveur
   *[other] Tapez { $count } pour éteindre tous les liens de { $count } serveurs
}
confirm-adjust = { $count ->
    [one] Tapez { $count } pour changer l'endiguement de { $count } serveur
   *[other] Tapez { $count } pour changer l'endiguement de { $count } serveurs
}
confirm-release = { $count ->
    [one] Tapez { $count } pour ROUVRIR { $count } serveur
   *[other] Tapez { $count } pour ROUVRIR { $count } serveurs
}
confirm-block = { $count ->
    [one] Tapez { $count } pour bloquer des adresses sur { $count } serveur
   *[other] Tapez { $count } pour bloquer des adresses sur { $count } serveurs
}
confirm-unblock = { $count ->
    [one] Tapez { $count } pour laisser passer des adresses sur { $count } serveur
   *[other] Tapez { $count } pour laisser passer des adresses sur { $count } serveurs
}
confirm-report = { $count ->
    [one] Tapez { $count } pour interroger { $count } serveur
   *[other] Tapez { $count } pour interroger { $count } serveurs
}
confirm-verdict = Tapez { $count } pour signer « { $verdict } » pour { $names }

apply-replanned = Le parc a changé depuis le plan ; il a été recalculé. Relisez ce qui suit.
canary-first = Premier groupe : { $list }
canary-release = --canary vaut pour les ordres qui ferment ; pour une réouverture, faites un plan des premiers serveurs
canary-count = --canary { $count } sur { $targets } serveurs ne laisse pas de second groupe
canary-sent = { $count ->
    [one] Envoyé au premier serveur ; attente de sa preuve.
   *[other] Envoyé aux { $count } premiers serveurs ; attente de leur preuve.
}
canary-stopped = { $count ->
    [one] Arrêté : { $count } serveur du premier groupe n'est pas vérifié. Rien n'a été envoyé aux autres.
   *[other] Arrêté : { $count } serveurs du premier groupe ne sont pas vérifiés. Rien n'a été envoyé aux autres.
}
order-sealed-now = L'ordre { $id } est signé et en route.
order-not-awaited = Sans attente. Ce qu'il fait n'est connu que par les rapports des serveurs : digue order watch { $id }
order-awaits = { $have ->
    [one] Ordre { $id } : { $have } signature sur { $need } ({ $names })
   *[other] Ordre { $id } : { $have } signatures sur { $need } ({ $names })
}
order-next-signature = à l'autre poste : digue order sign { $id } --sign NOM
order-already-sealed = L'ordre { $id } est déjà signé et en route.
order-was-cancelled = l'ordre { $id } a été retiré
order-withdrawn = Ordre { $id } retiré.
order-ambiguous = { $id } en désigne plusieurs
order-unknown = { $id }
order-inconsistent = les octets et les cibles ne s'accordent pas
order-other-bytes = les octets présentés ne sont pas ceux de l'ordre { $id } de ce déploiement
order-other-key = l'ordre nomme { $host } avec une autre clé que l'inventaire signé
order-not-a-file = { $path } n'est ni un lot d'ordre ni une enveloppe
order-not-verified = il ne se vérifie pas
order-verified = Vérifié. sha256 { $digest }, signé par { $names }
order-exported = Ordre { $id } écrit dans { $path }.
order-unsettled = Pas encore vérifiés : { $list }
    On ne sait pas ce qu'ils font : ne les comptez ni comme coupés, ni comme rouverts. L'ordre les attend jusqu'à son échéance : digue order watch { $id }
order-waits-for = Sans contact, l'ordre les attend : { $list }
order-result = Vérifiés par les rapports signés des serveurs eux-mêmes : { $confirmed } sur { $targets }
order-unconfirmed = le contrôleur les dit vérifiés, leurs propres rapports signés ne le disent pas (encore) : { $list }
order-open = { $count ->
    [one] { $count } serveur n'est pas vérifié
   *[other] { $count } serveurs ne sont pas vérifiés
}
progress-sent = ordre { $id }  envoyé { $sent }/{ $targets }
progress-acknowledged = reçu { $count }
progress-applied = appliqué { $count }
progress-verified = vérifié { $count }
progress-failed = échec { $count }
progress-refused = refusé { $count }
progress-superseded = remplacé { $count }
progress-no-contact = sans contact { $count }
signatures-so-far = Signatures qui comptent : { $have } sur { $need } ({ $names })
signatures-counted = { $have } sur { $need }
signature-rejected = Une signature ne compte pas : { $why }
export-readme = Pour vérifier sans Digue (le nombre de personnes, c'est vous qui le comptez) :

statement-title = { $host } : { $verdict }
statement-reason = Motif : { $reason }
statement-times = Observé jusqu'au { $observed }, valable jusqu'au { $until }
statement-evidence = Repose sur { $list }
statement-refused = { $host }
statement-unreadable = déclaration { $digest }
statement-ignored = La déclaration { $digest } est écartée : elle ne se vérifie pas ici ({ $why })
statement-accepted = Accepté.
statement-awaits = { $have ->
    [one] Déclaration { $digest } : { $have } signature sur { $need } ({ $names })
   *[other] Déclaration { $digest } : { $have } signatures sur { $need } ({ $names })
}
statement-next-signature = à l'autre poste : digue approvals sign { $digest } --sign NOM
assurance-missing = une déclaration de santé demande --assurance L1, L2 ou L3
assurance-useless = --assurance ne va qu'avec clean
clean-but-silent = ATTENTION : sans contact avec { $host } ; il ne compte pas comme sain avant d'être entendu à nouveau.
approvals-none = Rien n'attend de signature.

diff-facts-unknown = Les cartes réseau des serveurs ne sont pas connues ici : les chaînes liées à une carte ne sont pas montrées.
diff-before = reste ouvert avant
diff-after = reste ouvert après
diff-none = (aucune différence)
audit-counts = { $documents } documents, { $chains } chaînes de serveurs, { $awaiting } en attente de signatures
    { $list }
audit-holds = Tout tient.
audit-failures = { $count ->
    [one] { $count } chose ne tient pas
   *[other] { $count } choses ne tiennent pas
}

usage-unknown = { $argument } : inconnu
usage-no-value = { $argument } demande une valeur
usage-value = { $value } ne peut pas être une valeur de { $argument }
usage-missing = il manque { $arguments }
usage-conflict = { $argument } et { $other } s'excluent
usage-wrong = la ligne de commande ne se comprend pas
signatures-at-one-desk = { $have } personnes sur { $need } : avec moins, l'ordre partirait et chaque serveur le refuserait ; faites signer toutes les personnes ici, avec un --sign chacune
