"""What the feed counts; its lag in blocks is the difference of the two heads."""

from prometheus_client import Counter, Gauge

NODE_HEAD = Gauge("arena_exex_node_head_block", "The newest head that the node told")
HEAD = Gauge("arena_exex_head_block", "The last block told on the socket")
TRIES = Counter("arena_exex_unread_blocks_total", "Heads that could not be read at once, and were tried again")
