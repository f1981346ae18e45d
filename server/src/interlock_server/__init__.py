"""The server: it stores, publishes and counts what people signed.

It verifies a publication before anything is stored, keeps the online TUF roles fresh, and turns
the statements in force into each cohort's directive. It is assumed to be compromisable: it can
narrow, delay or stop a rollout, and nothing that it holds can start or enlarge one.
"""

from __future__ import annotations

__version__ = "0.1.0"
