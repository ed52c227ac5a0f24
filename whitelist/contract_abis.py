"""The ABI of tokens, as far as the whitelist asks them: topics and selectors follow from it. Pure."""

from protocols.abi import event_abi, function_abi

TRANSFER = event_abi(
    {
        "type": "event",
        "name": "Transfer",
        "anonymous": False,
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    }
)
BALANCE_OF = function_abi(
    {
        "type": "function",
        "name": "balanceOf",
        "stateMutability": "view",
        "inputs": [{"name": "owner", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
    }
)
DECIMALS = function_abi(
    {
        "type": "function",
        "name": "decimals",
        "stateMutability": "view",
        "inputs": [],
        "outputs": [{"name": "", "type": "uint8"}],
    }
)
SYMBOL = function_abi(
    {"type": "function", "name": "symbol", "stateMutability": "view", "inputs": [], "outputs": []},
)
"""Answered as a string, by old tokens as bytes32: decoded where it is read."""
