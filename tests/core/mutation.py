"""A rule taken out of the code: one snippet of one function replaced, and put back afterwards."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any


@contextmanager
def mutated(function: Callable[..., Any], old: str, new: str) -> Iterator[None]:
    """Run with ``old`` replaced by ``new`` in the source of ``function``.

    The function keeps its identity, so that whoever holds it (a table of rules, a class) runs the
    changed code.
    """
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {function}"
    made: dict[str, Any] = dict(function.__globals__)
    code = "from __future__ import annotations\n" + source.replace(old, new)
    exec(compile(code, f"<{function.__name__} without {old!r}>", "exec"), made)  # noqa: S102
    original = function.__code__
    function.__code__ = made[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = original
