"""Attacks: what an attacker may hold, what he tries, and the name by which he is refused.

One test for each row of the threat model that exists yet, through the real client over real HTTP,
against a server that the attacker controls. ``simulator`` is the fleet, its gateway and that
server; an attack is a few lines.

- ``test_network``: whoever holds the network, a mirror or a cache;
- ``test_online``: whoever holds the server and every online key, alone or with one person's key;
- ``test_offline``: whoever holds keys of roots, targets or products below, or at, their threshold;
- ``test_place``: the gateway's own surroundings: power, clock, interlock, slots;
- ``test_server``: what is sent to the server itself.

Rows that are shown where their builders are: a publisher killed between any two writes
(``tests/server/test_crash.py``), two publishers at once (``tests/server/test_concurrency.py``),
power cuts at every write of the client (``tests/client/test_power.py``), faults of the disk
(``tests/client/test_kept.py``).

Rows that wait for what they attack:

- hybrid roles, where one family of keys is broken, and keys in an HSM;
- online keys replaced by a ceremony, with its transcript (a rotated root is here);
- permits: expired, another device's, spent;
- resume by Range and deltas: splices, a delta of another base;
- every crash point enumerated across zones; dropped databases and buckets;
- publishers on several hosts;
- devices: reports replayed, re-ordered, forged; quarantine; assignments to another cohort;
- RAUC, SWUpdate, external commands and USB bundles;
- the log: entries edited, deleted, re-ordered; a log with two faces.
"""
