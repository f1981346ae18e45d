"""The monitor: turns "the soak passed and the failures are below the limit" into a signature.

It runs apart from the server, with a key, a user and a process of its own. ``judging`` and ``gate``
decide and are pure; ``feed`` reads the log, ``intake`` and ``counting`` keep what was verified in
``memory``, ``acting`` signs and sends, and ``service`` runs the rounds.
"""
