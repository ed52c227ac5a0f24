"""What nodes answer, in the words of each client: history that is gone, state that is gone, and other errors."""

import pytest

from streams.node.errors import HistoryPruned, RpcError, StateMissing, rpc_error

HISTORY = [
    (4444, "pruned history unavailable"),  # Geth, Reth, Nethermind
    (4444, ""),
    (-32000, "old data not available due to pruning"),  # Erigon
    (-32000, "state transition failed: data before txNum=2662500000 is not available: blockNum=16999999"),  # Erigon 3
    (-32000, "Receipt not available for From block 14319330."),  # Nethermind before 1.40
]
STATE = [
    (-32000, "missing trie node ef7df5d8 (path ) state 0xef7d is not available, not found"),  # Geth, hash-based
    (-32000, "historical state 0xef7d is not available"),  # Geth, path-based
    (-32000, "required historical state unavailable (reexec=128)"),  # Geth
    (-32603, "State at block #11052984 is pruned"),  # Reth
    (-32002, "No state available for block 19000000"),  # Nethermind
    (-32000, "World state unavailable"),  # Besu
    (-32000, "old data not available due to pruning"),  # Erigon
    (4444, "pruned history unavailable"),
]
NEITHER = [
    (-32001, "resource not found"),
    (-32000, "header not found"),
    (-32000, "unknown block"),
    (-32602, "query exceeds max block range 10000"),
    (-32000, "the node has lost its way"),
    (3, "execution reverted: pruned"),
    (-32000, "execution reverted: missing trie node"),
]


@pytest.mark.parametrize(("code", "message"), HISTORY)
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_getBlockByNumber", "eth_getBlockByHash"])
def test_dropped_blocks_and_logs_are_an_error_of_their_own(method: str, code: int, message: str) -> None:
    error = rpc_error(method, code, message)

    assert type(error) is HistoryPruned
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(("code", "message"), STATE)
@pytest.mark.parametrize("method", ["eth_call", "eth_getStorageAt", "eth_getCode", "eth_getBalance"])
def test_a_state_that_is_gone_is_another_error(method: str, code: int, message: str) -> None:
    assert type(rpc_error(method, code, message)) is StateMissing


@pytest.mark.parametrize(("code", "message"), NEITHER)
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_call"])
def test_other_errors_are_neither_pruned_history_nor_missing_state(method: str, code: int, message: str) -> None:
    assert type(rpc_error(method, code, message)) is RpcError
