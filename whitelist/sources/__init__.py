"""Token sources, one module each: `REQUEST` for its server, `parse` for tokens or symbols from the answer.

Only `top_transfers` asks a node instead of a server.
"""
