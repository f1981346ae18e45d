"""Groups of commands that are commands themselves.

Rule: a word that is no subcommand belongs to the group's own command, so that ``rollout recall
PRODUCT/VERSION`` and ``rollout recall status ORDER_ID`` both read as they are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Defaulting(click.Group):
    """A group whose own command takes whatever names no subcommand.

    Args:
        default: the name of that command; it is listed like the others.
    """

    def __init__(self, *args: Any, default: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default's name before words that name no subcommand."""
        if args and not self._asks_for_the_group(args):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def _asks_for_the_group(self, args: Sequence[str]) -> bool:
        return args[0] in self.commands or args[0] in {"-h", "--help"}
