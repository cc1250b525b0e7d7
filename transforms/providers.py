"""Every source kind that feeds usage: one line registers a provider."""

from __future__ import annotations

from costops.transforms.parse import anthropic, azure, bedrock, generic, google, litellm, openai, otel
from costops.transforms.parse.format import Format

FORMATS: tuple[Format, ...] = (
    *openai.FORMATS,
    *anthropic.FORMATS,
    *bedrock.FORMATS,
    *google.FORMATS,
    *azure.FORMATS,
    *litellm.FORMATS,
    *otel.FORMATS,
    *generic.FORMATS,
)

FORMAT: dict[str, Format] = {item.kind: item for item in FORMATS}
