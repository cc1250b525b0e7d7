"""Whether this code runs inside a Prefect flow run, without importing Prefect to find out.

The import takes more than a second and a hundred megabytes; a run without a server needs none of it.
"""

from __future__ import annotations

import sys


def in_flow() -> bool:
    """True inside a flow run. Where Prefect was never imported there is none."""
    context = sys.modules.get("prefect.context")
    return context is not None and context.FlowRunContext.get() is not None
