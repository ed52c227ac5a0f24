"""Decimals and symbols read from contracts on a real node; a faulty token affects no other."""

from collections.abc import Iterator, Mapping

import pytest
from eth_abi.abi import encode

from lab.devnet.chain.blocks import Chain
from lab.devnet.chain.contracts import token_initcode
from lab.devnet.chain.evm import Rpc
from lab.devnet.servers import start as servers
from protocols.types import Block
from streams.node import provider
from streams.node.client import connect
from streams.node.errors import NodeUnavailable
from streams.node.state.pinned_state import BlockGone, PinnedState
from streams.node.state.probe import probe_capabilities
from tests.support.rpc_proxy import Call, Rule, error, proxied
from whitelist.contract_abis import DECIMALS, SYMBOL
from whitelist.tokens.chosen import NotAToken, TokenFacts
from whitelist.tokens.metadata import TokenReadFailed, read_tokens

pytestmark = pytest.mark.servers
NOBODY = "0x" + "12" * 20


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with servers.anvil() as rpc:
        yield Chain(Rpc(rpc))


@pytest.fixture(scope="module")
def tokens(chain: Chain) -> list[str]:
    return chain.create(token_initcode("USDC", 6), token_initcode("WETH", 18))


async def read(chain: Chain, tokens: list[str], rule: Rule) -> Mapping[str, TokenFacts | NotAToken]:
    async with proxied(chain.rpc.url, rule) as proxy, connect(proxy.url) as node:
        block = Block(chain.tip.number, chain.tip.hash)
        return await read_tokens(PinnedState(node, block, await probe_capabilities(node, block)), tokens)


def saying(token: str, answers: Mapping[bytes, Call]) -> Rule:
    """The token answers so to these selectors."""

    def rule(call: Call) -> Call | None:
        if call["method"] != "eth_call" or call["params"][0]["to"] != token:
            return None
        return answers.get(bytes.fromhex(call["params"][0]["data"][2:]))

    return rule


def result(data: bytes) -> Call:
    return {"result": "0x" + data.hex()}


async def test_decimals_and_symbol_are_the_contracts_own(chain: Chain, tokens: list[str]) -> None:
    assert await read(chain, tokens, lambda call: None) == {
        tokens[0]: TokenFacts(6, "USDC"),
        tokens[1]: TokenFacts(18, "WETH"),
    }


@pytest.mark.parametrize(
    ("answer", "symbol"),
    [
        (b"MKR".ljust(32, b"\0"), "MKR"),
        (encode(["string"], ["A" * 100]), "A" * 32),
        (encode(["string"], ["\x1b[31mUSDC"]), None),
        (encode(["string"], [""]), None),
        (encode(["string"], ["USD₮"]), "USD₮"),
        (encode(["uint256", "uint256"], [32, 2**255]), None),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", None),
    ],
)
async def test_a_symbol_is_its_printable_text(
    chain: Chain, tokens: list[str], answer: bytes, symbol: str | None
) -> None:
    found = await read(chain, tokens, saying(tokens[0], {SYMBOL.selector: result(answer)}))

    assert found == {tokens[0]: TokenFacts(6, symbol), tokens[1]: TokenFacts(18, "WETH")}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (result(b""), "nothing"),
        (result((78).to_bytes(32, "big")), "0x" + "0" * 62 + "4e"),
        (result(b"\1" * 31), "0x" + "01" * 31),
        (error("execution reverted", 3), "nothing"),
        (error("EVM error OutOfGas"), "nothing"),
    ],
)
async def test_without_decimals_it_is_no_token(chain: Chain, tokens: list[str], answer: Call, shown: str) -> None:
    found = await read(chain, tokens, saying(tokens[0], {DECIMALS.selector: answer}))

    assert found == {
        tokens[0]: NotAToken(f"{tokens[0]} answers decimals() with {shown}"),
        tokens[1]: TokenFacts(18, "WETH"),
    }


async def test_an_address_without_code_is_no_token(chain: Chain) -> None:
    found = await read(chain, [NOBODY], lambda call: None)

    assert found == {NOBODY: NotAToken(f"{NOBODY} answers decimals() with nothing")}


async def test_a_token_that_exhausts_the_node_affects_no_other(chain: Chain, tokens: list[str]) -> None:
    slow = error("execution aborted (timeout = 5s)")

    found = await read(chain, tokens, saying(tokens[0], {DECIMALS.selector: slow, SYMBOL.selector: slow}))

    reason = f"the node answers decimals() of {tokens[0]} with execution aborted (timeout = 5s) (code -32000)"
    assert found == {tokens[0]: NotAToken(reason), tokens[1]: TokenFacts(18, "WETH")}


async def test_a_symbol_that_exhausts_the_node_is_left_out(chain: Chain, tokens: list[str]) -> None:
    found = await read(chain, tokens, saying(tokens[0], {SYMBOL.selector: error("execution aborted (timeout = 5s)")}))

    assert found[tokens[0]] == TokenFacts(6, None)


async def test_a_transient_error_costs_no_token(chain: Chain, tokens: list[str]) -> None:
    """The node fails once for each call: no answer is taken for a token that is none."""
    failed: set[str] = set()

    def once(call: Call) -> Call | None:
        if call["method"] != "eth_call" or call["params"][0]["to"] not in tokens or str(call["params"]) in failed:
            return None
        failed.add(str(call["params"]))
        return error("Internal error", -32603)

    assert await read(chain, tokens, once) == {tokens[0]: TokenFacts(6, "USDC"), tokens[1]: TokenFacts(18, "WETH")}


async def test_a_node_that_lost_the_state_is_an_error_and_not_the_tokens_fault(chain: Chain, tokens: list[str]) -> None:
    asked = 0

    def lost(call: Call) -> Call | None:
        nonlocal asked
        asked += call["method"] == "eth_call" and call["params"][0]["to"] in tokens
        return error("missing trie node") if asked and call["method"] in ("eth_call", "eth_getCode") else None

    with pytest.raises(BlockGone, match="the node does not give the state of block"):
        await read(chain, tokens, lost)


async def test_a_node_that_answers_no_call_is_reported(chain: Chain, tokens: list[str]) -> None:
    def silent(call: Call) -> Call | None:
        is_asked = call["method"] == "eth_call" and call["params"][0]["to"] in tokens
        return {"id": -1, "result": "0x"} if is_asked else None

    with pytest.raises(TokenReadFailed, match=r"the node does not answer for a token: .* unanswered"):
        await read(chain, tokens, silent)


async def test_a_node_that_fails_for_every_token_blames_no_token(chain: Chain, tokens: list[str]) -> None:
    def rule(call: Call) -> Call | None:
        return error("database is busy") if call["method"] == "eth_call" else None

    with pytest.raises(TokenReadFailed, match=r"answers decimals\(\) of all 2 tokens with .*database is busy"):
        await read(chain, tokens, rule)


async def test_a_rate_limited_read_is_retried(chain: Chain, tokens: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "WAIT_INITIAL_S", 0.01)
    monkeypatch.setattr(provider, "ATTEMPTS", 3)
    left = 2

    def busy(call: Call) -> Call | None:
        nonlocal left
        if call["method"] != "eth_call" or call["params"][0]["to"] not in tokens or not left:
            return None
        left -= 1
        return error("rate limit exceeded")

    assert (await read(chain, tokens, busy))[tokens[0]] == TokenFacts(6, "USDC")
    left = 100
    with pytest.raises(NodeUnavailable, match="rate limit exceeded, 3 times in a row"):
        await read(chain, tokens, busy)
