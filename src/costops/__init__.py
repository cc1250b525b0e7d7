"""LLM-CostOps: what LLM traffic really cost, why the bill differs, and what it will cost next."""
