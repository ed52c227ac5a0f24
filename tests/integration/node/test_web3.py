"""AsyncWeb3 over our provider, on a real chain: what people who extend the system would use."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from web3 import AsyncWeb3
from web3.contract import AsyncContract
from web3.exceptions import BlockNotFound, ContractLogicError, Web3RPCError
from web3.types import RPCEndpoint

from lab.devnet.chain.blocks import TRADER, Chain
from lab.devnet.chain.contracts import Contracts
from lab.devnet.chain.evm import Rpc
from streams.node.client import Node, connect
from streams.node.errors import NodeUnavailable
from streams.node.provider import NodeProvider

pytestmark = pytest.mark.servers

TOKEN = [
    {
        "type": "function",
        "name": "balanceOf",
        "stateMutability": "view",
        "inputs": [{"name": "account", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
    },
    {
        "type": "function",
        "name": "transfer",
        "stateMutability": "nonpayable",
        "inputs": [{"name": "to", "type": "address"}, {"name": "amount", "type": "uint256"}],
        "outputs": [{"name": "", "type": "bool"}],
    },
    {
        "type": "event",
        "name": "Transfer",
        "anonymous": False,
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    },
]
"""The part of ERC-20 that is used here."""


@pytest.fixture(params=["http", "ws", "ipc"])
async def node(request: pytest.FixtureRequest, anvil: Callable[..., str], tmp_path: Path) -> AsyncIterator[Node]:
    ipc = str(tmp_path / "node.ipc")
    url = anvil("--ipc", ipc)
    rpc = {"http": url, "ws": url.replace("http", "ws"), "ipc": ipc}[request.param]
    async with connect(rpc) as connected:
        yield connected


def token_of(node: Node, http_url: str) -> AsyncContract:
    contracts = Contracts.deployed(Chain(Rpc(http_url)))
    return node.w3.eth.contract(AsyncWeb3.to_checksum_address(contracts.tokens[0]), abi=TOKEN)


async def test_blocks_and_the_chain_are_read(node: Node) -> None:
    header = await node.header("latest")

    block = await node.w3.eth.get_block("latest")

    assert header is not None
    assert (block["number"], block["hash"].to_0x_hex()) == (header.number, header.hash)
    assert await node.w3.eth.chain_id == 31337
    assert await node.w3.is_connected()
    with pytest.raises(BlockNotFound):
        await node.w3.eth.get_block(5)


async def test_a_batch_is_answered_in_order(node: Node) -> None:
    await node.call("anvil_setBalance", [TRADER, hex(9)])
    async with node.w3.batch_requests() as batch:
        batch.add(node.w3.eth.get_block("latest"))
        batch.add(node.w3.eth.get_balance(AsyncWeb3.to_checksum_address(TRADER)))
        answers: list[Any] = await batch.async_execute()

    assert answers[0]["number"] == 0
    assert answers[1] == 9


async def test_an_error_of_the_node_raises_web3s_class_and_an_unreachable_node_ours(node: Node) -> None:
    with pytest.raises(Web3RPCError):
        await node.w3.manager.coro_request(RPCEndpoint("eth_nonsense"), [])
    async with connect("http://127.0.0.1:1") as away:
        with pytest.raises(NodeUnavailable):
            await away.w3.eth.get_block("latest")
        assert not await away.w3.is_connected()


async def test_contracts_are_called_and_their_events_read(anvil: Callable[..., str]) -> None:
    url = anvil()
    async with connect(url) as node:
        token = token_of(node, url)
        trader = AsyncWeb3.to_checksum_address(TRADER)
        receiver = AsyncWeb3.to_checksum_address("0x" + "ab" * 20)

        sent = await token.functions.transfer(receiver, 7).transact({"from": trader})
        await node.call("evm_mine", [])
        await node.w3.eth.wait_for_transaction_receipt(sent, timeout=10, poll_latency=0.05)

        assert await token.functions.balanceOf(receiver).call() == 7
        (transfer,) = await token.events.Transfer().get_logs(from_block="latest")
        assert transfer["args"]["value"] == 7
        (log,) = await node.logs((await node.w3.eth.get_block("latest"))["hash"].to_0x_hex())
        assert "0x" + log.topics[0].hex() == token.events.Transfer().topic
        with pytest.raises(ContractLogicError):
            await token.functions.transfer(receiver, 2**255).call({"from": receiver})


def test_a_contract_cannot_make_this_process_fetch_urls() -> None:
    assert not NodeProvider.global_ccip_read_enabled
