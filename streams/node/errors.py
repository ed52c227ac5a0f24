"""What can go wrong with a node: it gives no answer, it wants fewer requests, or it answers with an error."""

STATE_METHODS = frozenset({"eth_call", "eth_getStorageAt", "eth_getCode", "eth_getBalance"})
"""What asks for the state at a block; other methods ask for blocks, receipts and logs."""
PRUNED_HISTORY = 4444
"""The code that EIP-4444 gives to history that an execution client has dropped."""
REVERTED = 3
PRUNED = (
    "pruned",  # Geth, Nethermind and Besu; Reth's "State at block #1 is pruned"
    "due to pruning",  # Erigon
    "running with state pruning",  # OpenEthereum
)
PRUNED_HISTORY_PHRASES = (
    *PRUNED,
    "receipt not available",  # Nethermind
    "is not available: blocknum",  # Erigon: "data before txNum=… is not available: blockNum=…"
)
MISSING_STATE_PHRASES = (
    *PRUNED,
    "missing trie node",  # Geth with hash-based storage, and what derives from it
    "historical state",  # Geth with path-based storage: "historical state 0x… is not available", "… unavailable"
    "no state available",  # Nethermind
    "world state unavailable",  # Besu
    "is not available: blocknum",
)


class RpcError(Exception):
    """The node answered, with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class HistoryPruned(RpcError):
    """The node has dropped the blocks, receipts or logs that it is asked for; another node may still have them."""


class StateMissing(RpcError):
    """The node has the block, and not the state after it: full nodes keep that of the last blocks only."""


def rpc_error(method: str, code: int, message: str, data: object = None) -> RpcError:
    """The error that a node answers a call with, by what its code and its text say."""
    text = message.lower()
    if code == REVERTED or text.startswith("execution reverted"):
        return RpcError(code, message, data)  # the text is the contract's
    if method in STATE_METHODS:
        is_missing = code == PRUNED_HISTORY or any(phrase in text for phrase in MISSING_STATE_PHRASES)
        return (StateMissing if is_missing else RpcError)(code, message, data)
    is_pruned = code == PRUNED_HISTORY or any(phrase in text for phrase in PRUNED_HISTORY_PHRASES)
    return (HistoryPruned if is_pruned else RpcError)(code, message, data)


class NodeUnavailable(Exception):
    """No answer: connection refused or closed, HTTP 5xx, time-out, or an answer that is not one."""


class WrongChain(Exception):
    """The node is of another chain than the settings say."""

    def __init__(self, rpc: object, answered: int, expected: int, expected_by: str) -> None:
        super().__init__(f"the node at {rpc} is of chain {answered}, {expected_by} says {expected}")


class RateLimited(NodeUnavailable):
    """The node answers that it was asked too often; `retry_after_s` where it says when to come again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnusableAnswer(NodeUnavailable):
    """The node answers, but what it gives cannot be used: it cannot be read, or the logs of the block are missing."""
