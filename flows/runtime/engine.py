"""`[run]` of the configuration: who does the heavy part of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Engine(BaseModel):
    """This process, or the workers of a Dask or Ray cluster: of the one at `address`, else of one made for the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["local", "dask", "ray"] = "local"
    address: str | None = None
    workers: int = Field(default=2, ge=1, le=1_000)
