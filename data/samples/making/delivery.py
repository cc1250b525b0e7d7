"""How requests reach the files: whole and in time for the most part, and all the ways in which they do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from making import wire_clouds, wire_gateways, wire_makers
from making.call import LAST_DAY, Call, hexed, start_us
from making.dice import Dice
from making.tally import Tally
from making.text import csv_line
from making.traffic import SEED

NO_SURPLUS = {"azure", "litellm", "otel"}     # no cached count, or one that some releases leave out of the input
OFFSETS = (330, -480, 120, 60)
LAST_DELIVERY = LAST_DAY + timedelta(days=1)
BEDROCK = f"bedrock/AWSLogs/{wire_clouds.ACCOUNT}/BedrockModelInvocationLogs/us-east-1"
CUT_DAY, CUT_HOUR = date(2026, 10, 8), 15


@dataclass(frozen=True)
class Wire:
    """A file kind: where a line goes, how it looks, and which faults can befall it."""

    path: Callable[[date, int], str]
    line: Callable[[Call, int], str]
    failed: Callable[[Call], str] | None = None
    other: Callable[[Call], str] | None = None
    header: str = ""
    offsets: bool = True
    late_days: tuple[int, int] = (1, 3)          # (0, 0): a batch comes whole or not at all


@dataclass
class Parcel:
    """The lines of one source on their way: path to (instant, line)."""

    wire: Wire
    tally: Tally = field(default_factory=Tally)
    lines: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def put(self, day: date, call: Call, text: str) -> None:
        """Append a line to the file of a day."""
        self.lines[self.wire.path(day, call.hour)].append((call.at_us, text))
        self.tally.lines += 1


def _week(day: date) -> str:
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


WIRES: dict[str, Wire] = {
    "openai": Wire(lambda day, _: f"openai/requests/{day}.jsonl", wire_makers.openai, wire_makers.openai_failed,
                   offsets=False),
    "openai-batch": Wire(lambda day, _: f"openai/batch/batch_{day}_output.jsonl", wire_makers.openai_batch,
                         wire_makers.openai_batch_failed, offsets=False, late_days=(0, 0)),
    "anthropic": Wire(lambda day, _: f"anthropic/messages/{day}.jsonl", wire_makers.anthropic,
                      wire_makers.anthropic_failed),
    "anthropic-batch": Wire(lambda day, _: f"anthropic/batches/msgbatch_{day}/msgbatch_{day}_results.jsonl",
                            wire_makers.anthropic_batch, wire_makers.anthropic_batch_failed, offsets=False,
                            late_days=(0, 0)),
    "bedrock": Wire(lambda day, hour: f"{BEDROCK}/{day:%Y/%m/%d}/{hour:02d}/{day:%Y%m%d}T{hour:02d}0000000Z_"
                                      f"{hexed('bedrock', day, hour)[:16]}.json.gz",
                    wire_clouds.bedrock, wire_clouds.bedrock_failed),
    "gemini": Wire(lambda day, _: f"gemini/responses/{day}.jsonl", wire_clouds.gemini, wire_clouds.gemini_failed),
    "vertex": Wire(lambda day, _: f"vertex/request_response_log/{day}.jsonl", wire_clouds.vertex,
                   wire_clouds.vertex_failed),
    "azure": Wire(lambda day, hour: f"azure/am-apimanagementgatewayllmlog/y={day:%Y}/m={day:%m}/d={day:%d}/"
                                    f"h={hour:02d}/m=00/PT1H.json",
                  wire_clouds.azure, other=lambda call: wire_clouds.azure(call, 0, 1)),
    "litellm": Wire(lambda day, _: f"litellm/spend_logs/{day}.jsonl", wire_gateways.litellm,
                    wire_gateways.litellm_failed),
    "otel": Wire(lambda day, _: f"otel/traces-{day}.jsonl", wire_gateways.otel, wire_gateways.otel_failed,
                 wire_gateways.otel_plain, offsets=False),
    "grok-csv": Wire(lambda day, _: f"generic/usage_{_week(day)}.csv", wire_gateways.generic_csv,
                     wire_gateways.generic_csv_failed, header=csv_line(wire_gateways.GENERIC), late_days=(7, 8)),
    "grok-jsonl": Wire(lambda day, _: f"generic/usage_{_week(day)}.jsonl", wire_gateways.generic_jsonl,
                       wire_gateways.generic_jsonl_failed, late_days=(7, 8)),
}


def deliver(source: str, calls: list[Call], gateway: list[Call]) -> Parcel:
    """The files of a source. `gateway` are requests of another source that passed through this one too."""
    wire, dice = WIRES[source], Dice(f"{SEED}/{source}/delivery")
    parcel = Parcel(wire)
    for call in calls:
        _hand_over(parcel, dice, call)
    for call in gateway:
        parcel.put(call.day, call, wire.line(call, 0))
        parcel.tally.duplicates += 1
        parcel.tally.cross_source_duplicates += 1
    _spoil(parcel, dice, source, calls)
    for number, path in enumerate(sorted(parcel.lines)):
        ordered = sorted(parcel.lines[path])
        mixed = number % 4 == 3 and len(ordered) > 2
        parcel.lines[path] = dice.shuffled(ordered) if mixed else ordered
        parcel.tally.files_out_of_order += mixed
    return parcel


def _hand_over(parcel: Parcel, dice: Dice, call: Call) -> None:
    """Write one request, a few of them late, twice, or with another clock."""
    wire, tally, day, fate = parcel.wire, parcel.tally, call.day, dice.below(1000)
    tally.requests += 1
    offset = 0
    if fate < 12 and wire.late_days[1]:
        late = day + timedelta(days=dice.between(*wire.late_days))
        if late <= LAST_DELIVERY:
            tally.late += 1
            day = late
    elif fate < 34 and wire.offsets:
        offset = dice.pick(OFFSETS)
        tally.offset_timestamps += 1
    text = wire.line(call, offset)
    parcel.put(day, call, text)
    if fate >= 980:
        again = day + timedelta(days=1 if wire.late_days[1] == 3 else 7)
        elsewhere = fate >= 990 and wire.late_days[1] > 0 and again <= LAST_DELIVERY
        parcel.put(again if elsewhere else day, call, text)
        tally.duplicates += 1
        tally.duplicates_in_another_file += elsewhere


def _spoil(parcel: Parcel, dice: Dice, source: str, calls: list[Call]) -> None:
    """Add lines that bill nothing: failures, lines of other kinds, cut lines and counts that cannot be."""
    wire, tally = parcel.wire, parcel.tally

    def ghost(kind: str, number: int) -> Call:
        return replace(dice.pick(calls), key=hexed(SEED, source, kind, number))

    if wire.failed:
        for number in range(max(2, len(calls) // 150)):
            call = ghost("failed", number)
            parcel.put(call.day, call, wire.failed(call))
            tally.failed += 1
    if wire.other:
        for number in range(len(calls) // 40):
            call = ghost("other", number) if source != "azure" else dice.pick(calls)
            parcel.put(call.day, call, wire.other(call))
            tally.other += 1
    for number in range(max(1, len(calls) // 700)):
        call = ghost("malformed", number)
        text = wire.line(call, 0)
        parcel.put(call.day, call, text[: len(text) * dice.between(15, 45 if wire.header else 90) // 100])
        tally.malformed += 1
    for number in range(max(1, len(calls) // 600)):
        call = impossible(ghost("impossible", number), number)
        parcel.put(call.day, call, wire.line(call, 0))
        tally.impossible += 1


def impossible(call: Call, number: int) -> Call:
    """A request with counts that cannot be: more cached than asked (below 0 in disjoint classes), or output below 0."""
    cached = 0 if call.source in NO_SURPLUS else max(call.read, 512)
    if number % 2 == 0:
        return replace(call, uncached=-17, read=cached, write_5m=0, write_1h=0)
    return replace(call, output=-5, reasoning=0)


def azure_diagnostics(parcel: Parcel, calls: list[Call]) -> dict[str, list[tuple[int, str]]]:
    """The resource logs beside the gateway logs: one line per request, and the failures that the gateway leaves out."""
    dice = Dice(f"{SEED}/azure/diagnostics")
    lines: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for call in calls:
        path = parcel.wire.path(call.day, call.hour).replace("am-apimanagementgatewayllmlog",
                                                             "insights-logs-requestresponse")
        lines[path].append((call.at_us, wire_clouds.azure_diagnostic(call)))
        if dice.chance(7):
            failed = replace(call, key=hexed(call.key, "failed"))
            lines[path].append((call.at_us + 1, wire_clouds.azure_diagnostic(failed, "429")))
    return lines


def batch_objects(source: str, parcel: Parcel, calls: list[Call]) -> dict[str, str]:
    """The provider's own object beside each batch file."""
    made: dict[str, str] = {}
    for day in sorted({call.day for call in calls}):
        done = sum(call.day == day for call in calls)
        marker = "batch_expired" if source == "openai-batch" else '"type":"expired"'
        failed = sum(marker in text for _, text in parcel.lines[parcel.wire.path(day, 0)])
        if source == "openai-batch":
            made[f"openai/batch/batch_{day}.json"] = wire_makers.openai_batch_object(
                str(day), start_us(day) // 1_000_000, done, failed)
        else:
            made[f"anthropic/batches/msgbatch_{day}.json"] = wire_makers.anthropic_batch_object(
                str(day), done, failed)
    return made


def is_cut(path: str) -> bool:
    """True for the one archive that is broken off and sent again."""
    return path == WIRES["bedrock"].path(CUT_DAY, CUT_HOUR)


