"""Takes one check away at a time, and says which test notices.

A check that can be removed without a test failing is not tested, whatever the coverage says. Each
``Removal`` names one condition of

- ``deciding``: what ``decide`` asks before it grants anything;
- ``counting``: whose signature counts for what, and what an order's chain of ``go`` says;
- ``refreshing``: the scratch copy of trusted metadata, and what must be true before it is adopted;
- ``publishing``: what must be true before it is published, and of a permit before it is used;
- ``holding``: a ceremony's script and keys, and what its transcript proves;

the words to replace it with, and the tests that are likely to notice. Run it from the top of the
tree::

    python -m infra.removals            # all of them: every check, a table, and exit 1 for a hole
    python -m infra.removals stop soak  # those whose description says one of these words
    python -m infra.removals --write    # and put the table into docs/threat-model.md

It works in copies of the tree under a temporary directory, two at once, and never in the tree
itself. ``tests/packaging/test_threat_model.py`` holds that every check is still where its removal
looks for it, exactly once, and that the table in the document names each.
"""
