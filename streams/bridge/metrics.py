"""Metrics of the bridge for Prometheus."""

from prometheus_client import Counter, Gauge

HEAD = Gauge("arena_bridge_head_block", "Last block published")
BLOCKS = Counter("arena_bridge_blocks_total", "Blocks published")
UPDATES = Counter("arena_bridge_updates_total", "Pool updates published")
REORGS = Counter("arena_bridge_reorgs_total", "Reorgs published")
GAPS = Counter("arena_bridge_gaps_total", "Gaps published")
DISAGREEMENTS = Counter("arena_bridge_disagreements_total", "Blocks about which feed and node differ", ["about"])
VIOLATIONS = Counter("arena_bridge_broken_promises_total", "Violations of the wire protocol by the feed", ["kind"])
CONNECTIONS = Counter("arena_bridge_feed_connections_total", "Connections to the feed")
OVERFLOWS = Counter("arena_bridge_feed_overflows_total", "Connections closed because the buffer was full")
BUFFERED = Gauge("arena_bridge_buffered_steps", "Blocks and reorgs of the feed that wait to be published")
NODE_FAILURES = Counter("arena_bridge_node_failures_total", "Requests to the node without a usable answer", ["kind"])
NODE_AWAY = Gauge("arena_bridge_node_away", "1 while the node does not answer and the bridge waits for it")
FEED_HEAD = Gauge("arena_bridge_feed_block", "Newest block that the feed sent; ahead of the head block, it is the lag")
NODE_HEAD = Gauge("arena_bridge_node_head_block", "The node's newest head; less the feed's block: the feed's lag")
LISTED = Gauge("arena_bridge_listed_pools", "Pools on the topic whitelist")
