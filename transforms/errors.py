"""What can go wrong with a run. Data that is wrong is a finding, never one of these."""

from __future__ import annotations

from collections.abc import Iterable


class CostopsError(Exception):
    """A run cannot go on. One sentence: what, where, expected, got, next step.

    `exit_code` is that of the contract: 2 usage, 3 unreachable, 4 the lake refuses.
    """

    exit_code = 4


class Usage(CostopsError):
    """Wrong configuration or arguments; nothing was written."""

    exit_code = 2


class Unreachable(CostopsError):
    """A source or a store could not be reached after its retries."""

    exit_code = 3


class Refused(CostopsError):
    """The lake refuses: damaged, newer, locked, or held by another run."""

    exit_code = 4


class Conflict(Refused):
    """Another writer replaced what this one had read: do it again on the new base."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: the known one that was perhaps meant, else all of them."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}."
