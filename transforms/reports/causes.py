"""The causes of a gap in words: what each is called, and what to do about it."""

from __future__ import annotations

CAUSE: dict[str, tuple[str, str]] = {
    "missing_usage": ("Billed, not logged", "find the logs of these days or keys; deliver them and run again"),
    "extra_usage": ("Logged, not billed", "wait for a late bill; if it stays, ask the provider before you accrue it"),
    "quantity": ("Other quantity", "compare the token counts of the evidence with the provider's usage report"),
    "model_mapping": ("Other model", "map the billed model name to the logged one in the configuration"),
    "tier": ("Other service tier", "check which tier the requests asked for and which served them"),
    "price_change": ("Price changed", "date the price change in the price book as the bill has it"),
    "price_book": ("Price book differs", "put the bill's price (below) into the book, then reprice the month"),
    "region": ("Other region", "check the region of the deployment; its price differs"),
    "discount": ("Discount", "state it as a contract, so that it is expected and checked"),
    "commitment": ("Commitment", "state it as a contract, so that it is expected and checked; look at what went unused"),
    "credit": ("Credit", "state it as a contract to see its balance and expiry; credits lower the bill, not the usage"),
    "tax": ("Tax", "nothing to do; tax is not part of the usage cost"),
    "fx": ("Exchange rate", "nothing to do; the provider's rate differs from the rate table"),
    "rounding": ("Rounding", "nothing to do; the provider rounds each line"),
    "timing": ("Timing", "nothing to do; the amount stands in the month before or after"),
    "tool_fee": ("Tool fee", "price the tool (search, code session) in the price book"),
    "unmapped_line": ("Line not mapped", "map the SKU of the line in the configuration"),
    "unexplained": ("Unexplained", "open the evidence; ask the provider with the line's id"),
}
"""Cause -> what to call it and what to do about it."""
