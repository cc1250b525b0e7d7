"""Every source kind that feeds usage: one line registers a provider."""

from __future__ import annotations

from costops.transforms.parse import openai
from costops.transforms.parse.format import Format

FORMATS: tuple[Format, ...] = (
    *openai.FORMATS,
)

FORMAT: dict[str, Format] = {item.kind: item for item in FORMATS}
