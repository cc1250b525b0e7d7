"""Names of providers: what gateways, tracers and files call them -> the OpenTelemetry `gen_ai.provider.name`."""

from __future__ import annotations

NAMES: dict[str, tuple[str, ...]] = {
    "openai": ("openai", "text-completion-openai", "openai_like", "custom_openai"),
    "anthropic": ("anthropic", "anthropic_text"),
    "aws.bedrock": ("bedrock", "bedrock_converse", "aws", "aws_bedrock", "amazon", "amazon-bedrock"),
    "azure.ai.openai": ("azure", "azure_openai", "az.ai.openai", "azure_text", "azure-openai"),
    "azure.ai.inference": ("azure_ai", "az.ai.inference"),
    "gcp.vertex_ai": ("vertex_ai", "vertexai", "vertex", "vertex_ai_beta", "google_vertexai", "google-vertex"),
    "gcp.gemini": ("gemini", "google", "google_genai", "google-gla", "google-generative-ai", "generativeai"),
    "mistral_ai": ("mistral", "mistralai", "mistral-ai", "codestral"),
    "x_ai": ("xai", "x-ai", "grok"),
    "cohere": ("cohere_chat",),
    "together_ai": ("together", "togetherai", "together-ai"),
    "fireworks_ai": ("fireworks", "fireworks-ai"),
    "perplexity": ("perplexity-ai", "perplexityai"),
    "ibm.watsonx.ai": ("watsonx", "watsonx_text"),
    "moonshot_ai": ("moonshot", "moonshotai", "moonshot-ai"),
}


def provider(expression: str) -> str:
    """An expression that maps what a source calls a provider; a name that is not listed stays, in lower case."""
    whens = " ".join(f"WHEN lower({expression}) IN ({', '.join(repr(alias) for alias in aliases)}) THEN '{name}'"
                     for name, aliases in NAMES.items())
    return f"CASE WHEN {expression} IS NULL OR {expression} = '' THEN NULL {whens} ELSE lower({expression}) END"


_BY_PREFIX = {
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-", "davinci", "whisper-", "tts-", "dall-e"),
    "anthropic": ("claude",), "gcp.gemini": ("gemini",), "deepseek": ("deepseek",), "x_ai": ("grok",),
    "mistral_ai": ("mistral", "codestral", "ministral", "pixtral", "open-mi"), "cohere": ("command",),
}


def by_model(expression: str) -> str:
    """The provider that a model's name tells: the part before a slash, or a well-known beginning; else NULL."""
    whens = " ".join(
        "WHEN " + " OR ".join(f"starts_with(lower({expression}), '{start}')" for start in starts) + f" THEN '{name}'"
        for name, starts in _BY_PREFIX.items())
    return (f"CASE WHEN contains({expression}, '/') THEN {provider(f'''split_part({expression}, '/', 1)''')} "
            f"{whens} END")


def plain_model(expression: str) -> str:
    """A model's name without the provider before its first slash."""
    return f"regexp_replace({expression}, '^[^/]*/', '')"
