"""What a worker imports, one line each, so that nothing is left out silently: `faust -A worker worker`."""

import agents.chain
import agents.snapshots
import agents.whitelist
import agents.wishes
from app import app

__all__ = ["agents", "app"]
