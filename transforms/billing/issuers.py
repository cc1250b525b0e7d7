"""Who sends the bill: one spelling of issuer and provider for every word that sources use for them."""

from __future__ import annotations

ISSUERS: dict[str, tuple[str, str]] = {
    "openai": ("openai", "OpenAI"), "anthropic": ("anthropic", "Anthropic"),
    "aws": ("aws", "AWS"), "amazon": ("aws", "AWS"), "bedrock": ("aws", "AWS"), "aws.bedrock": ("aws", "AWS"),
    "google": ("gcp", "Google Cloud"), "gcp": ("gcp", "Google Cloud"), "vertex": ("gcp", "Google Cloud"),
    "gcp.vertex_ai": ("gcp", "Google Cloud"), "gcp.gemini": ("gcp", "Google Cloud"),
    "azure": ("azure", "Microsoft"), "microsoft": ("azure", "Microsoft"),
    "azure.ai.openai": ("azure", "Microsoft"), "azure.ai.inference": ("azure", "Microsoft"),
    "mistral": ("mistral_ai", "Mistral AI"), "mistral_ai": ("mistral_ai", "Mistral AI"),
    "groq": ("groq", "Groq"), "deepseek": ("deepseek", "DeepSeek"), "x_ai": ("x_ai", "xAI"), "xai": ("x_ai", "xAI"),
    "cohere": ("cohere", "Cohere"), "perplexity": ("perplexity", "Perplexity"),
    "openrouter": ("openrouter", "OpenRouter"), "oracle": ("oci", "Oracle"), "oci": ("oci", "Oracle"),
    "together": ("together_ai", "Together AI"), "together_ai": ("together_ai", "Together AI"),
    "fireworks": ("fireworks_ai", "Fireworks AI"), "fireworks_ai": ("fireworks_ai", "Fireworks AI"),
}
"""A word, in lower case -> the provider of the bill as a whole, and the issuer's name."""


def issuer_of(word: str | None) -> tuple[str | None, str | None]:
    """Provider and issuer of a word; an unknown one stands for itself."""
    if not word:
        return None, None
    return ISSUERS.get(word.strip().lower(), (word, word))
