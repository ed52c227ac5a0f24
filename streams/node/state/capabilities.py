"""What a node has shown that it can do, and how much in one request."""

import msgspec

MAX_BATCH_CALLS = 400
MAX_WORDS_PER_CALL = 8192
MAX_MULTICALL_CALLS = 500
MIN_WORDS_PER_CALL = 64


class NodeCapabilities(msgspec.Struct):
    """What a node has shown it can do. It is found out once and corrected by what it refuses."""

    overrides: bool
    by_hash: bool
    """Takes a block hash where a block is asked for (EIP-1898)."""
    batch_calls: int = MAX_BATCH_CALLS
    """Per request."""
    max_batch_calls: int = MAX_BATCH_CALLS
    latest_shifts: bool = False
    """anvil reads its newest block from live state: a block that is mined meanwhile shows through, hash or not."""
    words_per_call: int = MAX_WORDS_PER_CALL
    """Bitmap words per run of the reading program."""
    multicall_calls: int = MAX_MULTICALL_CALLS
    """Calls per run of the multicall program."""

    def multicall_failed(self, calls: int) -> None:
        self.multicall_calls = max(1, min(self.multicall_calls, calls // 2))

    def multicall_worked(self) -> None:
        """The limit may have been lowered only because a block was gone."""
        self.multicall_calls = min(MAX_MULTICALL_CALLS, self.multicall_calls * 5 // 4 + 1)

    def words_failed(self, words: int) -> None:
        self.words_per_call = max(MIN_WORDS_PER_CALL, min(self.words_per_call, words // 2))

    def words_worked(self, words: int) -> None:
        """A dense pool lowered the limit; sparse ones may raise it again."""
        if words == self.words_per_call:
            self.words_per_call = min(MAX_WORDS_PER_CALL, self.words_per_call * 5 // 4)

    def batch_failed(self, calls: int, refused: bool) -> None:
        """Refused for their number: that is not tried again. Otherwise they took too long, or were too large."""
        self.batch_calls = max(1, min(self.batch_calls, calls // 2))
        if refused:
            self.max_batch_calls = self.batch_calls

    def batch_worked(self, calls: int) -> None:
        if calls == self.batch_calls:
            self.batch_calls = min(self.max_batch_calls, self.batch_calls * 5 // 4 + 1)
