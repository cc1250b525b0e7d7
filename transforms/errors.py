"""What can go wrong with a run. Data that is wrong is a finding, never one of these."""

from __future__ import annotations


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
