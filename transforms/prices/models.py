"""Which entry of which price list a model id means, and by which path.

Every step is a stated rule: the id itself, a listed spelling, a date or version suffix, a resource path, a
vendor prefix, a Bedrock geography, a fine-tuned base. Nothing is guessed: what no rule reaches is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from costops.transforms.prices.entry import GLOBAL
from costops.transforms.prices.providers import SELLER, price_lists, provider_name

_VERSION = r"(?:\d{8}|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{4}|\d{3}|\d{2}-\d{2}|v\d+(?:[:.]\d+)?(?::\d+k)?|latest|default)"
_SUFFIX = re.compile(rf"(?:[-@:.]{_VERSION})+$")
_REST = re.compile(rf"(?:[-@:.]?{_VERSION}|[-@])*(?:-preview(?:[-@]{_VERSION})*)?$")
_COMPACT = re.compile(r"([-@])(20\d{2})(\d{2})(\d{2})(?=$|[-:@])")
_GEO = re.compile(r"^(global|us-gov|us|eu|apac|jp|au|ca|in|sa|uk|me|af|il)\.(?=[a-z0-9-]+\.)")
_PATHS = re.compile(r"^(?:.*/)?(?:publishers/[^/]+/)?models/")
_ARN = re.compile(r"^arn:[^/]*/")


@dataclass(frozen=True, slots=True)
class Alias:
    """One spelling of a model in one price list; `kind` says how it is compared."""

    provider: str
    kind: str
    text: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Match:
    """The entry found: `path` tells the steps. `provider` is None where no rule led anywhere."""

    provider: str | None
    model_id: str
    region: str
    path: str


@dataclass(frozen=True)
class Catalogue:
    """The models of all price lists, by every stated spelling."""

    exact: dict[tuple[str, str], str] = field(default_factory=dict)
    bare: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    patterns: dict[str, list[Alias]] = field(default_factory=dict)
    told: dict[tuple[str, str], str] = field(default_factory=dict)

    def find(self, provider: str, model_id: str, region: str | None = None) -> Match:
        """The entry for a model as billed. The same arguments always give the same answer and path."""
        seller = provider_name(provider)
        told = self.told.get((seller, model_id.lower()))
        steps = f"{seller}/{model_id}"
        if told is not None:
            steps += f" > told to be {told}"
            model_id = told
        scope = region_scope(seller, region)
        for listed in price_lists(seller):
            shown = steps if listed == seller else f"{steps} > price list of {listed}"
            for form, step in spellings(listed, model_id):
                found = self._look(listed, form)
                if found is not None:
                    model, how = found
                    parts = (shown, step, how, f"{listed}/{model}", scope if scope != GLOBAL else "")
                    return Match(listed, model, scope, " > ".join(part for part in parts if part))
        return Match(None, model_id, scope, f"{steps} > in no price list of {', '.join(price_lists(seller))}")

    def _look(self, provider: str, form: str) -> tuple[str, str] | None:
        plain = bare(form)
        for text, how in ((form, "listed spelling"), (_COMPACT.sub(r"\1\2-\3-\4", form), "date with dashes"),
                          (plain, "date or version suffix")):
            model = self.exact.get((provider, text))
            if model is not None:
                return model, "" if model.lower() == form else how
        aliases = self.patterns.get(provider, ())
        for alias in aliases:
            if alias.kind == "regex" and re.search(alias.text, form):
                return alias.model_id, "listed pattern"
        starts = [a for a in aliases if a.kind == "starts_with" and form.startswith(a.text)]
        for alias in sorted(starts, key=lambda a: -len(a.text)):
            if alias.text.startswith("ft:") or _REST.fullmatch(form[len(alias.text):]):
                return alias.model_id, f"listed start {alias.text!r}"
        models = self.bare.get((provider, plain), set())
        return (next(iter(models)), "date or version suffix") if len(models) == 1 else None


def catalogue(models: Iterable[tuple[str, str]], aliases: Iterable[Alias],
              told: Mapping[tuple[str, str], str] | None = None) -> Catalogue:
    """The catalogue of (provider, model) pairs that have a price. `told` are the user's own ids."""
    made = Catalogue(told={(provider_name(p), m.lower()): to for (p, m), to in (told or {}).items()})
    priced = set(models)
    for provider, model in priced:
        made.exact[provider, model.lower()] = model
        made.bare.setdefault((provider, bare(model.lower())), set()).add(model)
    for alias in aliases:
        if (alias.provider, alias.model_id) not in priced:
            continue
        if alias.kind == "equals":
            made.exact.setdefault((alias.provider, alias.text), alias.model_id)
        elif alias.kind in {"regex", "starts_with"}:
            made.patterns.setdefault(alias.provider, []).append(alias)
    return made


def is_geography(model_id: str) -> bool:
    """True for a Bedrock inference profile of one geography: `eu.amazon.nova-lite-v1:0`."""
    geo = _GEO.match(model_id)
    return geo is not None and geo.group(1) != GLOBAL


def bare(model_id: str) -> str:
    """A model id without date, version and `latest`."""
    return _SUFFIX.sub("", model_id)


def spellings(listed: str, model_id: str) -> list[tuple[str, str]]:
    """The forms of an id to look up, best first, each with the step that made it."""
    low = model_id.strip().lower()
    forms = [(low, "")]
    last = low
    if low.startswith("arn:"):
        last = _ARN.sub("", low)
        forms.append((last, "last part of the ARN"))
    elif _PATHS.match(low):
        last = _PATHS.sub("", low)
        forms.append((last, "last part of the resource path"))
    if listed == "aws.bedrock":
        forms += _bedrock(last)
    elif "/" in last:
        vendor, _, rest = last.partition("/")
        if provider_name(vendor) == listed or vendor in {"anthropic", "google", "azure", "bedrock", "vertex_ai"}:
            forms.append((rest, f"without {vendor}/"))
    if last.startswith("ft:"):
        base = last.split(":")[1]
        forms.append((f"ft:{base}", "fine-tuned base"))
        forms.append((f"ft:{bare(base)}", "fine-tuned base without its date"))
    return forms


def _bedrock(model_id: str) -> list[tuple[str, str]]:
    """A geography's id is never stripped before its own price was looked for; global never means regional."""
    geo = _GEO.match(model_id)
    if geo is None:
        return [(f"regional.{model_id}", "in-region id")]
    name, rest = geo.group(1), model_id[geo.end():]
    if name == "global":
        return [(rest, "global profile of a model with one price")]
    return [(f"regional.{rest}", f"{name} profile"), (rest, f"{name} profile of a model with one price")]


_GEOGRAPHIES: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"us", "eu", "au", "in", "jp"}), "anthropic": frozenset({"us", "eu"}),
    "mistral_ai": frozenset({"us", "eu"}), "x_ai": frozenset({"us", "eu"}),
}
"""Where a maker's own endpoints can be bound to: the geographies that its prices can name."""


def region_scope(provider: str, region: str | None) -> str:
    """The part of a region that a price can depend on: a geography, `regional`, or `global`."""
    low = (region or "").strip().lower()
    if provider not in SELLER or low in {"", GLOBAL, "not_available", "default"}:
        return GLOBAL
    if provider == "gcp.vertex_ai":  # regional and multi-regional endpoints cost the same
        return "regional"
    if provider in _GEOGRAPHIES:
        return low.split("-")[0] if low.split("-")[0] in _GEOGRAPHIES[provider] else GLOBAL
    if provider.startswith("azure"):
        return f"azure-{low}" if low in {"us", "eu"} else GLOBAL
    return low if provider == "aws.bedrock" else GLOBAL
