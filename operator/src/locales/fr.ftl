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
host-retired = { $at }  { $host } retiré de l'inventaire : { $reason }
host-unknown = { $host }
proof-read-back = (a) règles relues
proof-probes = (b) sondes en échec
proof-outside = (c) sonde extérieure
proof-management = (d) administration
check-not-done = non fait
check-not-possible = impossible : { $detail }

open-everything = tout (aucun endiguement)
open-nothing = rien que la boucle locale ; les ordres arrivent par navette
open-controllers = contrôleurs { $list }
open-internal = réseaux internes { $list }
open-inbound = { $flow } depuis { $peer }
open-outbound = { $flow } vers { $peer }
open-until = { "," } jusqu'au { $at }
lost-hold = maintenir la coupure
lost-reopen = rouvrir après { $after }

status-answer = { $clean } sains confirmés sur { $expected }, { $exposed } exposés    données à { $at } ({ $zone })
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
touch-the-key = Touchez la clé de sécurité…
signed-by = signé par { $name } ({ $kind })
signature-not-counted = { $path }
signature-same-person = { $path } : cette personne avait déjà signé ; deux clés d'une même personne comptent pour une
signatures-repeat = { $have } sur { $need } ; répétez --sign pour chaque personne
signer-unknown = { $name }

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
inventory-none = il n'y a pas encore d'inventaire signé
inventory-not-verified = il ne se vérifie pas
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

explain-unknown = { $code }
explain-exit = code de sortie { $exit }
target-none = dites --all, -l C=V ou nommez des serveurs
target-contradicts = --all, -l et des noms s'excluent
target-empty = aucun serveur ne correspond
