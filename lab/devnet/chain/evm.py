"""An EVM node spoken to directly: JSON-RPC in batches over one connection, and Solidity calldata."""

import http.client
import json
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from eth_abi.abi import encode
from eth_abi.grammar import parse
from eth_utils.abi import function_signature_to_4byte_selector


class CallFailed(Exception):
    """The node answered with an error."""


class Rpc:
    def __init__(self, url: str, timeout_s: float = 60) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"the node is reached over http://, not {url}")
        self.url = url
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_s)

    def call(self, method: str, *parameters: Any) -> Any:
        return self.batch([(method, list(parameters))])[0]

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """The results in the calls' order; the first error raises."""
        if not calls:
            return []
        request = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
            for number, (method, parameters) in enumerate(calls)
        ]
        replies = sorted(self._post(json.dumps(request).encode()), key=lambda reply: reply["id"])
        for (method, _), reply in zip(calls, replies, strict=True):
            if "error" in reply:
                raise CallFailed(f"{method}: {reply['error'].get('message')} {reply['error'].get('data') or ''}")
        return [reply["result"] for reply in replies]

    def _post(self, body: bytes) -> list[dict[str, Any]]:
        headers = {"Content-Type": "application/json"}
        try:
            self._connection.request("POST", self._path, body, headers)
            answer = self._connection.getresponse().read()
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            self._connection.request("POST", self._path, body, headers)
            answer = self._connection.getresponse().read()
        return list(json.loads(answer))


selector = cache(function_signature_to_4byte_selector)


@cache
def _types(signature: str) -> tuple[str, ...]:
    if signature.endswith("()"):
        return ()
    parsed: Any = parse(signature[signature.index("(") :])
    return tuple(component.to_type_str() for component in parsed.components)


def calldata(signature: str, *arguments: Any) -> str:
    """0x hex of the call, for example `calldata("transfer(address,uint256)", to, 1)`."""
    return "0x" + (selector(signature) + encoded(signature, *arguments)).hex()


def encoded(signature: str, *arguments: Any) -> bytes:
    """The arguments alone, as a constructor takes them; the name may be left out."""
    return encode(_types(signature), arguments)


def words(data: str) -> list[int]:
    """What a call returned, as unsigned 256-bit words."""
    raw = bytes.fromhex(data[2:])
    return [int.from_bytes(raw[start : start + 32], "big") for start in range(0, len(raw), 32)]


def signed(word: int, bits: int = 256) -> int:
    """The low `bits` of the word as two's complement."""
    low = word & ((1 << bits) - 1)
    return low - (1 << bits) if low >> (bits - 1) else low


def address(word: int) -> str:
    return f"0x{word & (1 << 160) - 1:040x}"
