"""Names of providers: what usage calls them, what each price feed calls them, and whose list applies.

Usage says `gen_ai.provider.name` as OpenTelemetry does; the price book says the same. One table translates.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Seller:
    """One provider: its ids in the feeds, and whose price list to look in when its own has no such model.

    `channel` is the region under which its own price for a model stands on the list of that model's maker.
    """

    name: str
    genai: str | None = None
    litellm: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    list_tiers: frozenset[str] = frozenset({"standard"})
    reports_cost: bool = False
    channel: str = ""


SELLERS: tuple[Seller, ...] = (
    Seller("openai", "openai", ("openai", "text-completion-openai")),
    Seller("anthropic", "anthropic", ("anthropic",)),
    Seller("aws.bedrock", "aws", ("bedrock", "bedrock_converse", "bedrock_mantle")),
    Seller("gcp.gemini", "google", ("gemini",), ("anthropic",)),
    Seller("gcp.vertex_ai", None, ("vertex_ai", "vertex_ai-language-models", "vertex_ai-chat-models",
           "vertex_ai-text-models", "vertex_ai-code-chat-models", "vertex_ai-code-text-models",
           "vertex_ai-vision-models", "vertex_ai-embedding-models", "vertex_ai-anthropic_models",
           "vertex_ai-llama_models", "vertex_ai-mistral_models", "vertex_ai-deepseek_models",
           "vertex_ai-ai21_models", "vertex_ai-qwen_models", "vertex_ai-minimax_models",
           "vertex_ai-moonshot_models", "vertex_ai-zai_models", "vertex_ai-openai_models",
           "vertex_ai-image-models", "vertex_ai-video-models", "vertex_ai-xai_models"),
           ("gcp.gemini", "anthropic"), frozenset({"standard", "batch", "flex", "priority"}), channel="vertex"),
    Seller("azure.ai.openai", "azure", ("azure", "azure_text"),
           ("azure.ai.inference", "openai", "anthropic", "deepseek", "x_ai", "moonshot_ai"),
           frozenset({"standard", "batch"}), channel="azure"),
    Seller("azure.ai.inference", None, ("azure_ai",),
           ("azure.ai.openai", "openai", "anthropic", "deepseek", "x_ai", "moonshot_ai"),
           frozenset({"standard", "batch"}), channel="azure"),
    Seller("mistral_ai", "mistral", ("mistral", "text-completion-codestral", "codestral")),
    Seller("groq", "groq", ("groq",)),
    Seller("deepseek", "deepseek", ("deepseek",)),
    Seller("x_ai", "x-ai", ("xai",)),
    Seller("cohere", "cohere", ("cohere", "cohere_chat")),
    Seller("perplexity", "perplexity", ("perplexity",)),
    Seller("openrouter", "openrouter", ("openrouter",), reports_cost=True),
    Seller("together", "together", ("together_ai",)),
    Seller("fireworks", "fireworks", ("fireworks_ai", "fireworks_ai-embedding-models")),
    Seller("moonshot_ai", "moonshotai", ("moonshot",)),
    Seller("minimax", "minimax", ("minimax",)),
    Seller("dashscope", None, ("dashscope",)),
    Seller("voyage", "voyageai", ("voyage",)),
    Seller("cerebras", "cerebras", ("cerebras",)),
    Seller("sambanova", None, ("sambanova",)),
    Seller("deepinfra", None, ("deepinfra",)),
    Seller("nebius", None, ("nebius",)),
    Seller("databricks", "databricks", ("databricks",)),
    Seller("cloudflare", "cloudflare", ("cloudflare",)),
    Seller("ai21", None, ("ai21",)),
    Seller("zai", "zai", ("zai",)),
    Seller("elevenlabs", "elevenlabs", ("elevenlabs",)),
    Seller("deepgram", None, ("deepgram",)),
    Seller("assemblyai", None, ("assemblyai",)),
    Seller("hyperbolic", None, ("hyperbolic",)),
    Seller("lambda_ai", None, ("lambda_ai",)),
    Seller("ibm.watsonx.ai", None, ("watsonx",)),
    Seller("jina_ai", None, ("jina_ai",)),
    Seller("github_copilot", "github-copilot", ("github_copilot",)),
    Seller("vercel_ai_gateway", None, ("vercel_ai_gateway",), reports_cost=True),
)

SELLER: dict[str, Seller] = {seller.name: seller for seller in SELLERS}

_SPELLINGS: dict[str, str] = {
    "azure": "azure.ai.openai", "az.ai.openai": "azure.ai.openai", "az.ai.inference": "azure.ai.inference",
    "azure_ai": "azure.ai.inference", "aws": "aws.bedrock", "bedrock": "aws.bedrock", "aws_bedrock": "aws.bedrock",
    "google": "gcp.gemini", "gemini": "gcp.gemini", "gcp.gen_ai": "gcp.gemini", "vertex": "gcp.vertex_ai",
    "vertex_ai": "gcp.vertex_ai", "mistral": "mistral_ai", "x-ai": "x_ai", "xai": "x_ai",
    "moonshotai": "moonshot_ai", "moonshot": "moonshot_ai", "together_ai": "together", "fireworks_ai": "fireworks",
    "voyageai": "voyage", "alibaba": "dashscope", "alibaba_cloud": "dashscope", "watsonx": "ibm.watsonx.ai",
    "cohere_chat": "cohere", "bedrock_converse": "aws.bedrock",
}

GENAI_NAMES: dict[str, str] = {s.genai: s.name for s in SELLERS if s.genai}
LITELLM_NAMES: dict[str, str] = {name: s.name for s in SELLERS for name in s.litellm}


def provider_name(text: str) -> str:
    """The OpenTelemetry value for a provider, whatever a feed or a source calls it; unknown names as they are."""
    low = text.strip().lower()
    return low if low in SELLER else _SPELLINGS.get(low, low)


def price_lists(provider: str) -> tuple[str, ...]:
    """The price lists to look in, best first."""
    seller = SELLER.get(provider)
    return (provider, *seller.lists) if seller else (provider,)
