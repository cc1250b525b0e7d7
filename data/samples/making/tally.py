"""What was put into the files of one source, counted where it was put in."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Tally:
    """Lines of a source by what they are: lines = requests + duplicates + malformed + impossible + failed + other."""

    lines: int = 0
    requests: int = 0
    duplicates: int = 0
    malformed: int = 0
    impossible: int = 0
    failed: int = 0
    other: int = 0
    late: int = 0
    offset_timestamps: int = 0
    cross_source_duplicates: int = 0
    duplicates_in_another_file: int = 0
    files_out_of_order: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)

    def check(self, source: str) -> None:
        """Refuse counts that do not add up."""
        kinds = self.requests + self.duplicates + self.malformed + self.impossible + self.failed + self.other
        if kinds != self.lines:
            raise AssertionError(f"{source}: {self.lines} lines written, {kinds} accounted for")
