"""What `faust -A worker worker` runs: one import per module of agents, so that none is left out silently."""

import agents.snapshot_requests
import agents.source_topics
from app import app

__all__ = ["agents", "app"]
