"""Write the sample logs and bills, and the truth about them: `python data/samples/generate.py [--out DIR]`."""

from __future__ import annotations

import argparse
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from making.bills import bills
from making.call import Call
from making.delivery import azure_diagnostics, batch_objects, deliver, is_cut
from making.dice import Dice
from making.sessions import sessions
from making.tally import Tally
from making.text import dumps, gzipped
from making.traffic import PLANS, SEED, calls_of
from making.truth import truth

GATEWAY_COPIES = 150


def build() -> dict[str, bytes]:
    """Every generated file by its path under the output folder."""
    usage: dict[str, list[Call]] = {plan.source: calls_of(plan) for plan in PLANS}
    dice = Dice(f"{SEED}/gateway")
    through_gateway = [call for call in dice.shuffled(usage["openai"]) if call.tier == "standard"
                       and call.model.startswith("gpt-4o")][:GATEWAY_COPIES]
    files: dict[str, bytes] = {}
    tallies: dict[str, Tally] = {}
    cut = ""
    for source, calls in usage.items():
        parcel = deliver(source, calls, through_gateway if source == "litellm" else [])
        tallies[source] = parcel.tally
        for path, lines in parcel.lines.items():
            text = "\n".join([parcel.wire.header, *(line for _, line in lines)][not parcel.wire.header :]) + "\n"
            files[path] = gzipped(text.encode()) if path.endswith(".gz") else text.encode()
            if is_cut(path):
                cut = path
                files[f"{path.removesuffix('.json.gz')}_resent.json.gz"] = files[path]
                files[path] = files[path][: len(files[path]) * 6 // 10]
        if source == "azure":
            for path, lines in azure_diagnostics(parcel, calls).items():
                files[path] = ("\n".join(line for _, line in lines) + "\n").encode()
        if source.endswith("-batch"):
            files |= {path: text.encode() for path, text in batch_objects(source, parcel, calls).items()}
    claude_code = sessions()
    usage["claude-code"], tallies["claude-code"] = claude_code.calls, claude_code.tally
    files |= {path: ("\n".join(lines) + "\n").encode() for path, lines in claude_code.lines.items()}
    made = bills(usage)
    files |= made.files
    for source, tally in tallies.items():
        tally.check(source)
    known = {f"logs/{path}": content for path, content in sorted(files.items())}
    told = truth(usage, tallies, made, cut)
    told["files"] = {"count": len(known), "bytes": sum(len(content) for content in known.values()),
                     "sha256": tree_hash(known)}
    return {**known, "truth.json": readable(told).encode()}


def readable(told: dict[str, Any]) -> str:
    """JSON with one line per row, so that a change is seen where it is."""
    lines = []
    for key, value in told.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(dumps(row) for row in value) + "\n ]"
        else:
            text = dumps(value)
        lines.append(f" {dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def tree_hash(files: dict[str, bytes]) -> str:
    """One hash over the paths and contents of all files."""
    total = sha256()
    for path, content in sorted(files.items()):
        total.update(f"{path}\0{sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def main() -> None:
    """Replace the generated files in the output folder; everything else there stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to")
    out: Path = parser.parse_args().out
    files = build()
    shutil.rmtree(out / "logs", ignore_errors=True)
    for path, content in files.items():
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    print(f"{len(files)} files, {sum(len(content) for content in files.values()):,} bytes in {out}")


if __name__ == "__main__":
    main()
