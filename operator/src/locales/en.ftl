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
host-retired = { $at }  { $host } taken out of the inventory: { $reason }
host-unknown = { $host }
proof-read-back = (a) rules read back
proof-probes = (b) probes fail
proof-outside = (c) outside probe
proof-management = (d) management
check-not-done = not done
check-not-possible = not possible: { $detail }

open-everything = everything (no containment)
open-nothing = nothing but the loopback; orders come by courier
open-controllers = controllers { $list }
open-internal = internal networks { $list }
open-inbound = { $flow } from { $peer }
open-outbound = { $flow } to { $peer }
open-until = { "," } until { $at }
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
touch-the-key = Touch the security key…
signed-by = signed by { $name } ({ $kind })
signature-not-counted = { $path }
signature-same-person = { $path }: this person had signed already; two keys of one person count once
signatures-repeat = { $have } of { $need }; repeat --sign for each person
signer-unknown = { $name }

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
inventory-none = there is no signed inventory yet
inventory-not-verified = it does not verify
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

explain-unknown = { $code }
explain-exit = exit code { $exit }
target-none = say --all, -l K=V or name servers
target-contradicts = --all, -l and names exclude each other
target-empty = no server matches
