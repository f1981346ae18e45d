"""What a power cut can leave of a disk, and whether a gateway lives with all of it.

A tool for integrators and for our own tests; no other part of the client imports it.

- ``operations``: a recorded command as a value: a file system, and what was done to it.
- ``model``: what a power cut can leave of it.
- ``states``: which of the states that are possible are tried, and in which order.
- ``trace``, ``replay`` (``machine``, ``live``, ``processes``, ``acts``), ``record``: what a command
  really did, by ``strace``.
- ``materialise``: a state as a directory.
- ``explore``: tries every state.
- ``scenario``: the file that says what is tried and what is good.
"""
