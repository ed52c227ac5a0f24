"""Where tokens come from, one module each: its server's `QUESTION`, and `read`, which makes tokens or symbols of bytes.

Only the node's transfers are asked for in another way.
"""
