"""Every kind of usage feed that comes as pages: one line registers a kind."""

from __future__ import annotations

from costops.transforms.buckets import anthropic_usage, gateway_usage, openai_usage
from costops.transforms.buckets.feed import UsageFormat

USAGE_FORMATS: tuple[UsageFormat, ...] = (openai_usage.FORMAT, *anthropic_usage.FORMATS, *gateway_usage.FORMATS)

USAGE_FORMAT: dict[str, UsageFormat] = {form.kind: form for form in USAGE_FORMATS}
