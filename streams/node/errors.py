"""What can go wrong with a node: it gives no answer, it wants fewer requests, or it answers with an error."""


class RpcError(Exception):
    """The node answered, with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class NodeUnavailable(Exception):
    """No answer: connection refused or closed, HTTP 5xx, time-out, or an answer that is not one."""


class WrongChain(Exception):
    """The node is of another chain than the settings say."""

    def __init__(self, rpc: object, expected: int, answered: int) -> None:
        super().__init__(f"the node at {rpc} is of chain {answered}, ARENA_CHAIN_ID says {expected}")


class RateLimited(NodeUnavailable):
    """The node answers that it was asked too often; `retry_after_s` where it says when to come again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnusableAnswer(NodeUnavailable):
    """The node answers, but what it gives cannot be used: it cannot be read, or the logs of the block are missing."""
