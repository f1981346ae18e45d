"""Attacks: what an attacker may hold, what he tries, and the name by which he is refused.

One test or more for each row of the threat model that exists yet (``docs/threat-model.md`` names
them row by row), through the real client over real HTTP, against a server that the attacker
controls; or over real HTTP against the real server, with a real gateway beside it. Each asserts
the refusal's name and that nothing changed, and ends with an honest check that succeeds. Ten lines
or fewer each: ``simulator`` (with ``people``, ``online``, ``lies``) and ``siege`` make it possible.

- ``test_network``, ``test_bytes``: whoever holds the network, a mirror or a cache;
- ``test_online``, ``test_rollouts``, ``test_stops``: whoever holds the server and every online key;
- ``test_people``, ``test_rosters``: the same with one person's key, or the monitor's, and people
  whom a roster has dropped;
- ``test_offline``: whoever holds keys of roots, targets or products below, or at, their threshold;
- ``test_permits``: whoever would have a gateway go below its floor;
- ``test_place``: the gateway's own surroundings: power, clock, interlock, slots;
- ``test_server``: what is sent to the server itself;
- ``test_devices``: whoever holds a device's key, or a claim; who is let in, and who is moved;
- ``test_review``: what a review found;
- ``test_suite``: what is asked of this suite.

Rows that are shown where their builders are: a publisher killed between any two writes
(``tests/server/test_crash.py``; of a rotation ``tests/server/test_rotation_crash.py``), two
publishers at once, also on PostgreSQL (``tests/server/test_concurrency.py``), a database that drops
its connections (``tests/server/test_schema.py``), power cuts at every write of the client
(``tests/client/test_power.py``) and of a ceremony (``tests/keys_ceremony/test_media.py``), faults
of the disk (``tests/client/test_kept.py``), assignments that a stolen server forges, replays or
hides (``tests/client/test_assigned.py``), keys in a token and in a KMS
(``tests/core/test_tokens.py``, ``tests/server/test_kms.py``), the log: entries edited, deleted,
re-ordered, truncated, a log with two faces, checkpoints forged and replayed
(``tests/ops/test_log.py``), the monitor told lies (``tests/ops/test_monitor_deceived.py``), counts
that a device, a clone or a killed engine would move (``tests/server/test_engine.py``,
``tests/server/test_engine_crash.py``), recalls that somebody would close
(``tests/core/test_recall.py``, ``tests/ops/test_cli_recall.py``).

Rows that wait for what they attack, by the subject of the work that brings it:

- *the gateway, part one*: resume by Range, and deltas: splices, a delta of another base; every
  crash point enumerated; a secure clock whose jumps are bounded; installers beside A/B slots (RAUC,
  SWUpdate, external commands) called directly;
- *the gateway, part two*: USB bundles and what comes in archives.
"""
