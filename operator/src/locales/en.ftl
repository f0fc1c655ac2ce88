# What `digue` says in English. The same keys with the same variables stand in fr.ftl (checked by a test).
count-servers = { $count ->
    [one] { $count } server
   *[other] { $count } servers
}
yes = yes
no = no
unit-day = d
word-order = order

column-host = HOST
column-verdict = VERDICT
column-links = LINKS
column-exposed = EXPOSED
column-heard = LAST CONTACT
column-level = LEVEL
column-site = SITE
column-role = ROLE
column-order = ORDER
column-remarks = REMARKS
column-name = NAME
column-kind = KIND
column-fingerprint = FINGERPRINT
column-file = FILE
column-default = DEFAULT
column-controller = CONTROLLER
column-signers = SIGNERS
column-trust = TRUST FOLDER

verdict-unassessed = not assessed
verdict-no-finding = examined, nothing found
verdict-suspect = suspect
verdict-compromised = compromised
verdict-clean = confirmed clean
links-unmeasured = never measured
links-open = open
links-cutting = cutting
links-cut = cut (verified)
links-releasing = releasing
links-failed = cut failed
phase-waiting = waiting
phase-sent = sent
phase-acknowledged = acknowledged
phase-applied = applied
phase-verified = verified
phase-failed = failed
phase-refused = refused
phase-superseded = superseded
order-awaiting = awaiting signatures
order-sealed = signed, on its way
order-cancelled = cancelled
order-all-verified = signed, verified everywhere

host-never-enrolled = never enrolled
host-never-heard = never heard
host-heard = { $ago } ago
host-no-contact = no contact for { $ago }
host-gap = documents { $gap } are missing
host-lapsed = lapsed because
host-key = agent's key
host-addresses = addresses
host-labels = labels
host-drift = drift
host-alarms = alarms
host-gaps = missing documents
host-stays-open = stays open
host-blocked = blocked
host-order = order in force
host-awaited = orders awaited
host-profile = profile
profile-observe = no containment
profile-cut = cut (internal networks open)
profile-isolate = isolated
profile-dark = dark
host-retired = { $at }  { $host } taken out of the inventory: { $reason }
host-unknown = { $host }
proof-read-back = (a) rules read back
proof-probes = (b) probes fail
proof-outside = (c) outside probe
proof-management = (d) management
check-not-done = not done
check-not-possible = not possible: { $detail }

open-everything = everything (no containment)
open-nothing = nothing but the loopback, not even controllers; no order reaches these servers any more, and this version has no courier yet that reopens them
open-controllers = controllers { $list }
open-internal = internal networks { $list }
open-inbound = { $flow } from { $peer }
open-outbound = { $flow } to { $peer }
open-until = , until { $at }
lost-hold = hold the containment
lost-reopen = reopen after { $after }

status-answer = { $clean } confirmed clean of { $expected }, { $exposed } exposed    data of { $at } ({ $zone })
status-cut = cut and verified { $count }
status-failed = cut failed { $count }
status-compromised = compromised { $count }
status-suspect = suspect { $count }
status-no-finding = nothing found { $count }
status-unassessed = not assessed { $count }
status-stale = no contact { $count }
status-never = never enrolled { $count }
expect-unmet = { $list }
watch-lost = { $at }  STREAM LOST: no news from { $address }; what is shown is no longer up to date
watch-new = new in the inventory
watch-back = in contact again
watch-silent = no contact

confirm-needs-yes = add --yes
confirm-inventory = { $count ->
    [one] Type 1 to change 1 server of the inventory
   *[other] Type { $count } to change { $count } servers of the inventory
}
confirm-enroll = { $count ->
    [one] Type 1 to enter the key of 1 server
   *[other] Type { $count } to enter the keys of { $count } servers
}
confirm-retire = Type 1 to take { $host } out of the inventory
confirm-renew = Type { $count } to sign the inventory of { $count } servers again
touch-the-key = Touch the security key…
signed-by = signed by { $name } ({ $kind })
signature-not-counted = { $path }
signature-no-role = { $path }: { $name } does not have the role "{ $role }"; held by: { $holders }
signature-nobody = { $path }: this key is nobody's in the trust root; the role "{ $role }" is held by: { $holders }
signature-same-person = { $path }: this person had signed already; two keys of one person count once
signatures-repeat = { $have } of { $need }; repeat --sign for each person
signer-unknown = { $name }; this context knows { $known }

file-not-read = { $path }
file-not-written = { $path }
file-exists = { $path }
key-unreadable = { $path } holds no public key that can be used
keygen-failed = { $what }
keygen-sign-failed = signing with { $path }
keys-made = Key pair { $path } made. Keep the private half to yourself; give the public half to whoever drafts the trust root.
keys-exported = { $path }: { $count ->
    [one] 1 key
   *[other] { $count } keys
}
keys-file-refused = { $path }

config-bad = { $path }
context-bad-name = { $name }: letters, digits, - and _ only
context-none = there is none yet
context-many = there are several ({ $names }) and no default
context-unknown = { $name }; known: { $known }
context-refused = { $name }
context-added = Context { $name } added.
context-default = { $name } is the default context.

controller-unreachable = { $address }
controller-refuses = { $address }
controller-error = { $status } for { $path }
controller-says = { $said }
controller-not-found = { $path }
controller-unreadable = { $path }
certificate-wrong = { $address }
stream-lost = { $address }
request-bad = { $path }

trust-none = nothing pinned in { $path }
trust-bad-pin = { $path } holds no SHA-256
trust-bad-root = { $path }
trust-bad-chain = { $path }
trust-other-pin = { $found } was offered, { $pinned } is pinned here
trust-root-refused = it does not verify
trust-forked = another root version { $version } than the one held here
trust-extended = Trust root version { $version } is in force.
trust-draft-refused = the draft breaks a rule
trust-not-a-root = { $path }
trust-no-person = { $name } is not in the root
trust-no-key = { $fingerprint } is not in the root
trust-drafted = Draft of trust root version { $version }: { $path }
    Compare by voice before signing: { $words }
    Nothing has been sent. Next: digue trust sign { $path } --sign NAME
trust-signed-so-far = { $count ->
    [one] 1 person has signed: { $names }
   *[other] { $count } persons have signed: { $names }
}
trust-published = Trust root version { $version } kept: { $words }
trust-controller-none = the controller has none
trust-title = Trust root version { $version }  { $digest }
    { $words }
trust-person = { "  " }{ $name }: { $roles }
trust-thresholds = Persons needed: { $list }
trust-controller = Controller { $name }: { $pin }
trust-epoch = Epoch { $epoch }, oldest inventory accepted { $floor }

fleet-ghost = WARNING: the controller shows { $host }, which the signed inventory does not name. It is left out.
fleet-hidden = WARNING: the controller shows no row for { $host } of the signed inventory. It counts as never measured.
fleet-other-key = WARNING: the controller shows { $host } with another key than the signed inventory. It counts as never measured.
fleet-unproven = WARNING: the controller shows { $list } as cut or clean; what the servers and people signed does not say so. They count as what was signed. Treat it as tampering.
fleet-untimely = WARNING: the newest documents signed by { $list } carry quite another time than this desk. They count as no contact. Either a clock is wrong, here or there, or the controller shows old documents. To be sure, ask the servers: digue plan report
fleet-other-time = WARNING: the controller's view is of { $at } by its own clock, which is not this desk's time.
inventory-replaced = WARNING: inventory version { $version }, signed by { $names }, puts another machine (key or incarnation) under the name of { $list }. If nobody rebuilt them, treat it as tampering.
inventory-gone = WARNING: inventory version { $version }, signed by { $names }, no longer names { $list }.
inventory-forked = another inventory of the same version { $version } was seen here before: two were signed
order-sealed-without = the controller calls order { $id } signed and on its way, but its signatures do not suffice
inventory-none = there is no signed inventory yet
inventory-not-verified = it does not verify
inventory-older-root = WARNING: inventory version { $version } counts only under an older trust root. Read it, and sign it again: digue hosts renew --sign NAME
inventory-went-back = version { $found } is offered, version { $seen } was seen here before
inventory-disagrees = the view counts another inventory than the one that is signed
inventory-refused = it would not be valid
inventory-accepted = Inventory version { $version } accepted: { $count ->
    [one] 1 server
   *[other] { $count } servers
}
retire-contained = { $host } is contained. Out of the inventory it stays cut, and no order will reach it any more.
import-refused = { $path }: { $count ->
    [one] 1 problem
   *[other] { $count } problems
}
import-ambiguous = ? { $name } has the address { $address } of { $existing }: renamed, or another server? Left out; name both in the file, or rename by hand.
import-missing = = { $count ->
    [one] 1 server of the inventory is not in the file and stays: { $names }
   *[other] { $count } servers of the inventory are not in the file and stay: { $names }
}
import-counts = added { $added }, changed { $changed }, unchanged { $unchanged }, ambiguous { $ambiguous }

enroll-hosts-without-accept = names of servers go with --accept
enroll-invited = Join secret for { $host } drawn. Carry this file to the server, start its agent with --join-secret-file, then: digue hosts enroll --accept
enroll-not-invited = { $host } asks to enter (from { $peer }) but was not invited here: ignored
enroll-nothing = No request to accept.
enroll-first = { $host }  key { $key }
enroll-added = { $host }  key { $key }  new in the inventory
enroll-rebuilt = { $host }  key { $key }  ANOTHER KEY than before: the server counts as rebuilt, earlier orders and verdicts no longer bind it
enroll-unchanged = { $host }  key { $key }  unchanged
enrol-forged = { $host }
enrol-twice = { $host } asks twice
enrol-ssh-failed = { $host }
report-not-by-host = { $host }

explain-unknown = there is no code { $code }; all of them: digue explain
explain-exit = exit code { $exit }
target-none = say --all, -l K=V or name servers
target-contradicts = --all, -l and names exclude each other
target-empty = no server has all these labels; the inventory knows { $known }

column-action = ACTION
column-at = AT
column-digest = DIGEST
column-id = ID
column-incident = INCIDENT
column-issued = ISSUED
column-phase = PHASE
column-reason = REASON
column-signatures = SIGNATURES
column-state = STATE
column-valid = VALID UNTIL
column-verified = VERIFIED
column-what = WHAT

plan-bad = { $path }
plan-counts = { $chosen } chosen: { $targets } to act on, { $unchanged } unchanged, { $left } left out
plan-empty-text = --reason and --incident cannot be empty
plan-expired = the time limit passed at { $at }
plan-impossible = the protocol does not allow it
plan-left-out = Left out, { $why }: { $list }
plan-moved = { $list }
plan-nothing = Nothing to do: no order would be sent.
plan-other-deployment = the plan was made in another context
plan-other-root = the plan was made under trust root version { $version }, of another epoch or newer than held here
plan-stale = Without contact, the order waits for them: { $list }
plan-unchanged = Unchanged, they get no order: { $list }
plan-kept = Plan written to { $path }, for the record. There is nothing to sign.
plan-written = Plan written to { $path }. Nothing is signed and nothing has been sent. Next: digue diff { $path }, then digue apply { $path } --sign NAME --wait
unblock-unknown = { $network } is not blocked on any of these servers
block-controller = the list covers the controller { $address }
why-never-enrolled = never enrolled
why-not-clean = not confirmed clean
why-statement = the clean statement does not hold here ({ $detail })
why-no-challenge = no challenge is known
relaxes-profile = a more open profile
relaxes-internal = internal networks
relaxes-controllers = controllers
relaxes-exceptions = exceptions
relaxes-lost = the reopening without a controller
relaxes-blocked = blocked networks
adjust-opens = ATTENTION: this order opens more ({ $what }): { $list }
adjust-stays-isolated = { "  " }To keep them isolated, add --isolate.
adjust-closes = This order takes away what was open ({ $what }): { $list }
    "adjust" replaces everything: repeat each --keep that is to stay.
plan-next-verdict = To state that they are clean, once examined: digue verdict set HOST,… clean --assurance L1 --reason … --sign NAME --sign NAME
why-would-relax = the order would open something ({ $what }): use `plan adjust`
why-not-contained = not contained
why-drill = already contained, and the order would reopen by itself
host-not-in-plan = { $host } gets no order by this plan

order-title = Order { $id }  sha256 { $digest }
order-words = Compare by voice: { $words }
order-effect = { $effect }: { $who }
order-everyone = every server that trusts this root
order-stays-open = Stays open:
order-lost = If no controller can be reached: { $what }
order-self-cut = The order may cut the agent off its own controllers.
order-with-verdict = { $count ->
    [one] The clean statement of 1 server is attached; its agent checks it.
   *[other] The clean statements of { $count } servers are attached; each agent checks its own.
}
order-without-verdict = WITHOUT A VERDICT: no clean statement is attached. Takes three persons and stands in every report.
order-blocked = Blocked in both directions: { $list }
order-why = Incident { $incident }: { $reason }
order-until = Delivered until { $at }
order-signatures = { $count ->
    [one] Signatures needed: 1 ({ $class })
   *[other] Signatures needed: { $count } distinct persons ({ $class })
}
effect-cut = { $count ->
    [one] Cut 1 server
   *[other] Cut { $count } servers
}
effect-isolate = { $count ->
    [one] Isolate 1 server
   *[other] Isolate { $count } servers
}
effect-dark = { $count ->
    [one] Take 1 server dark
   *[other] Take { $count } servers dark
}
effect-adjust = { $count ->
    [one] Change the containment of 1 server, perhaps to something more open
   *[other] Change the containment of { $count } servers, perhaps to something more open
}
effect-release = { $count ->
    [one] Reopen 1 server
   *[other] Reopen { $count } servers
}
effect-block = { $count ->
    [one] Block addresses on 1 server
   *[other] Block addresses on { $count } servers
}
effect-unblock = { $count ->
    [one] Change the blocked addresses of 1 server, perhaps to fewer
   *[other] Change the blocked addresses of { $count } servers, perhaps to fewer
}
effect-report = { $count ->
    [one] Ask 1 server for a full report
   *[other] Ask { $count } servers for a full report
}
prompt = { $question }:
confirm-cut = { $count ->
    [one] Type 1 to cut 1 server
   *[other] Type { $count } to cut { $count } servers
}
confirm-isolate = { $count ->
    [one] Type 1 to isolate 1 server
   *[other] Type { $count } to isolate { $count } servers
}
confirm-dark = { $count ->
    [one] Type 1 to take 1 server dark
   *[other] Type { $count } to take { $count } servers dark
}
confirm-adjust = { $count ->
    [one] Type 1 to change the containment of 1 server
   *[other] Type { $count } to change the containment of { $count } servers
}
confirm-release = { $count ->
    [one] Type 1 to REOPEN 1 server
   *[other] Type { $count } to REOPEN { $count } servers
}
confirm-block = { $count ->
    [one] Type 1 to block addresses on 1 server
   *[other] Type { $count } to block addresses on { $count } servers
}
confirm-unblock = { $count ->
    [one] Type 1 to let addresses through on 1 server
   *[other] Type { $count } to let addresses through on { $count } servers
}
confirm-report = { $count ->
    [one] Type 1 to ask 1 server
   *[other] Type { $count } to ask { $count } servers
}
confirm-verdict = Type { $count } to sign “{ $verdict }” for { $names }

apply-replanned = The fleet changed since the plan; it was computed again. Read what follows.
canary-first = First group: { $list }
canary-release = --canary is for orders that close; for a release make a plan for the first servers
canary-count = --canary { $count } of { $targets } servers leaves no second group
canary-sent = { $count ->
    [one] Sent to the first server; waiting for its proof.
   *[other] Sent to the first { $count } servers; waiting for their proof.
}
canary-stopped = { $count ->
    [one] Stopped: 1 server of the first group is not verified. The others were sent nothing.
   *[other] Stopped: { $count } servers of the first group are not verified. The others were sent nothing.
}
order-sealed-now = Order { $id } is signed and on its way.
order-not-awaited = Not waiting. What it does is known only from the servers' own reports: digue order watch { $id }
order-awaits = Order { $id }: { $have } of { $need } signatures ({ $names })
order-next-signature = on the other desk: digue order sign { $id } --sign NAME
order-already-sealed = Order { $id } is signed and on its way already.
order-was-cancelled = order { $id } was withdrawn
order-withdrawn = Order { $id } withdrawn.
order-ambiguous = { $id } names several
order-unknown = { $id }
order-inconsistent = the bytes and the targets do not agree
order-other-bytes = the bytes presented are not those of order { $id } of this deployment
order-other-key = the order names { $host } with another key than the signed inventory
order-not-a-file = { $path } is neither a bundle nor an envelope
order-not-verified = it does not verify
order-verified = Verified. sha256 { $digest }, signed by { $names }
order-exported = Order { $id } written to { $path }.
order-unsettled = Not verified yet: { $list }
    What they do is not known: count them neither as cut nor as reopened. The order waits for them until it expires: digue order watch { $id }
order-waits-for = Without contact, the order waits for them: { $list }
order-result = Verified by the servers' own signed reports: { $confirmed } of { $targets }
order-unconfirmed = the controller calls these verified, their own signed reports do not (yet): { $list }
order-open = { $count ->
    [one] 1 server is not verified
   *[other] { $count } servers are not verified
}
progress-sent = order { $id }  sent { $sent }/{ $targets }
progress-acknowledged = acknowledged { $count }
progress-applied = applied { $count }
progress-verified = verified { $count }
progress-failed = failed { $count }
progress-refused = refused { $count }
progress-superseded = superseded { $count }
progress-no-contact = no contact { $count }
signatures-so-far = Signatures that count: { $have } of { $need } ({ $names })
signatures-counted = { $have } of { $need }
signature-rejected = A signature does not count: { $why }
export-readme = To verify without Digue (the number of persons is counted by you):

statement-title = { $host }: { $verdict }
statement-reason = Reason: { $reason }
statement-times = Observed until { $observed }, valid until { $until }
statement-evidence = Rests on { $list }
statement-refused = { $host }
statement-unreadable = statement { $digest }
statement-ignored = Statement { $digest } is left out: it does not verify here ({ $why })
statement-accepted = Accepted.
statement-awaits = Statement { $digest }: { $have } of { $need } signatures ({ $names })
statement-next-signature = on the other desk: digue approvals sign { $digest } --sign NAME
assurance-missing = a clean statement needs --assurance L1, L2 or L3
assurance-useless = --assurance goes with clean only
clean-but-silent = WARNING: no contact with { $host }; it does not count as clean before it is heard again.
approvals-none = Nothing waits for a signature.

diff-facts-unknown = The cards of the servers are not known here: chains that are bound to cards are not shown.
diff-before = stays open before
diff-after = stays open after
diff-none = (no difference)
audit-counts = { $documents } documents, { $chains } chains of servers, { $awaiting } awaiting signatures
    { $list }
audit-holds = Everything holds.
audit-failures = { $count ->
    [one] 1 thing does not hold
   *[other] { $count } things do not hold
}

usage-unknown = { $argument }: unknown
usage-no-value = { $argument } needs a value
usage-value = { $value } cannot be a value of { $argument }
usage-missing = { $arguments } missing
usage-conflict = { $argument } and { $other } exclude each other
usage-wrong = the command line cannot be understood
signatures-at-one-desk = { $have } of { $need } persons: with fewer the order would go out and every host would refuse it; let all of them sign here, with one --sign each
