r"""What the commands say, kept as transcripts that run.

Each ``*.txt`` beside this file is what a person types, one after the other, in an empty directory,
and everything that the commands answer. It is run in this process, through the real ``main`` of
each program, with a clock that stands still, cheap scrypt, and answers typed at a terminal.

.. code-block:: text

    # A wrong passphrase opens nothing.

    given delegated

    -- wrong --
    not the passphrase
    --
    $ chmod 600 wrong
    $ interlock-repo sign event --key people/rosa.key.json --passphrase-file wrong --yes
      ...
    ! interlock-repo: [..]people/rosa.key.json[..] [wrong_passphrase]
    exit 20

A transcript consists of

- ``# prose`` and empty lines;
- ``given NAME``: what stands in the directory at first (``worlds.py`` lists the names); once, on
  top. From ``server`` on, the real server's web application answers at ``{URL}``;
- ``-- FILE --``, the file's text, and ``--``: the file is written there and then;
- steps. A step is ``$`` and a command (a line that ends in ``\`` goes on in the next; ``> FILE`` at
  the end puts standard output there), and then, in this order:

  ``< text``
      typed at the terminal; without any there is no terminal. All of it must be asked for. A
      question stands among what is said on standard error, with the answer unless it is secret;
  two spaces and a line
      of standard output;
  ``! text``
      a line of standard error;
  ``exit N``
      the exit code, if it is not 0.

Both outputs are compared whole: what is not in the transcript must not be said. In a line, ``[..]``
is anything, and ``{NAME}`` is anything without spaces, the same wherever it stands, in later
commands and files too. A line ``...`` is any number of lines. ``{HOME}`` is the directory.

Beside the five programs there are ``cat``, ``ls``, ``cp``, ``rm``, ``mkdir``, ``touch``, ``chmod``,
``same A B`` (fails unless the two files are the same), ``edit FILE OLD NEW`` (once, and OLD must be
there) and ``at TIME`` (sets the clock; it begins at 2026-12-01T09:30:00Z).

After a change that is meant, ``.venv/bin/python -m tests.cli [FILE…]`` writes the answers anew,
keeps the lines whose pattern still fits, and names the files that differ: read the difference
before you commit it. A new transcript is begun with its commands alone.
"""
