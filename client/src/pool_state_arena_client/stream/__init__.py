"""The stream of changes: its events, whether each follows from those before it, and mirrors of what they add up to."""
