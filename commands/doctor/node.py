"""Checks the node: its chain, head, logs, state, and what it can be asked for."""

import time

from commands.doctor.findings import Findings
from protocols.types import Block
from settings import Settings
from streams.node.blocks import NodeHeader
from streams.node.client import Node, connect, connect_node
from streams.node.errors import NodeUnavailable, RateLimited, RpcError
from streams.node.state.pinned_state import BlockGone, StateUnavailable
from streams.node.state.probe import probe_capabilities
from whitelist.pools.log_proof import LogsPruned, prove_logs

LATE_BLOCKS = 5
"""A head older than so many block times is late."""
CLOCK_AHEAD_S = 3
LOG_DEPTHS = (200, 2_000, 12_000, 100_000, 1_000_000)
"""Blocks below the head at which logs are looked for; reth --full keeps receipts of 10,064."""
RANGE = 64
"""Blocks from each depth on: of these, one has logs."""
BATCH = 100


async def check_node(settings: Settings, findings: Findings) -> None:
    """Raises NodeUnavailable, RpcError, WrongChain where the node does not answer at all."""
    async with connect_node(settings) as node:
        chain_id = await node.chain_id()
        findings.ok(f"{await _client(node)} at {node.rpc}, chain {chain_id}")
        head = await node.header("latest")
        if head is None:
            findings.problem("it has no latest block", "wait until it has synced")
            return
        await _check_head(settings, node, head, findings)
        await _check_tags(settings, node, findings)
        await _check_logs(node, head, findings)
        await _check_state(settings, node, head, findings)
        await _check_batches(node, findings)
        if settings.rpc_ws is not None:
            await _check_subscription(settings, chain_id, findings)


async def _client(node: Node) -> str:
    try:
        return str(await node.call("web3_clientVersion", []))
    except RpcError:
        return "a node that does not say its name"


async def _check_head(settings: Settings, node: Node, head: NodeHeader, findings: Findings) -> None:
    age_s = time.time() - head.timestamp
    late_s = LATE_BLOCKS * settings.scraper_block_time_s
    if age_s < -CLOCK_AHEAD_S:
        findings.problem(
            f"block {head.number} is {-age_s:.0f} s in the future by this machine's clock",
            "set the clock by NTP (timedatectl set-ntp true): ages and lags are wrong until then",
        )
    elif age_s > late_s:
        findings.problem(
            f"its newest block {head.number} is {age_s:.0f} s old{await _sync_state(node)}",
            "wait until it has synced; ARENA_SCRAPER_BLOCK_TIME_S is the chain's block time "
            f"({settings.scraper_block_time_s:g} s)",
        )
    else:
        findings.ok(f"its newest block {head.number} is {max(0.0, age_s):.0f} s old")


async def _sync_state(node: Node) -> str:
    try:
        syncing = await node.call("eth_syncing", [])
    except RpcError:
        return ""
    return ", and it says that it is syncing" if syncing else ", though it says that it is not syncing"


async def _check_tags(settings: Settings, node: Node, findings: Findings) -> None:
    missing = []
    for tag in ("safe", "finalized"):
        try:
            if await node.header(tag) is None:
                missing.append(tag)
        except RpcError:
            missing.append(tag)
    if not missing:
        findings.ok("it knows the safe and the finalized block")
    elif settings.scraper_pin in missing:
        findings.problem(
            f"it does not know the {settings.scraper_pin} block, at which ARENA_SCRAPER_PIN has snapshots taken",
            "set ARENA_SCRAPER_PIN=latest, or connect its consensus client",
        )
    else:
        findings.warning(
            f"it does not know the block {' and '.join(missing)}", "answers say `finalized: null`; nothing else changes"
        )


async def _check_logs(node: Node, head: NodeHeader, findings: Findings) -> None:
    served: int | None = None
    for depth in [*(depth for depth in LOG_DEPTHS if depth < head.number), head.number]:
        first = head.number - depth
        try:
            await prove_logs(node, first, min(first + RANGE, head.number), head.number)
        except (LogsPruned, BlockGone, RpcError) as error:
            _logs_missing(served, error, findings)
            return
        served = first
    findings.ok(f"it serves logs from block {served} to its head")


def _logs_missing(served: int | None, error: Exception, findings: Findings) -> None:
    if served is None:
        findings.problem(f"it does not serve the logs of recent blocks: {error}", "use a node that keeps receipts")
        return
    findings.warning(
        f"it serves logs from block {served} on, and not those of all blocks before: {error}",
        "state is exact with it; `arena whitelist build` and `arena backfill` of older blocks need a node that keeps "
        "all receipts (reth without --full), or another publisher's whitelist",
    )


async def _check_state(settings: Settings, node: Node, head: NodeHeader, findings: Findings) -> None:
    try:
        found = await probe_capabilities(node, Block(head.number, head.hash))
    except BlockGone:
        findings.warning(f"block {head.number} was replaced while it was read", "run this again")
        return
    except StateUnavailable as error:
        findings.problem(
            f"state cannot be read at a block: {error}", "use a node that keeps the state of recent blocks"
        )
        return
    if found.overrides:
        findings.ok("eth_call takes state overrides: a pool is read by one call")
    else:
        findings.warning("eth_call refuses state overrides: pools are read slot by slot, many times slower")
    if found.by_hash:
        findings.ok("state is read at a block's hash (EIP-1898)")
    else:
        findings.warning("it ignores block hashes (EIP-1898): pools are read by number, and the hash checked after")
    await _check_memory(settings, node, head, findings)


async def _check_memory(settings: Settings, node: Node, head: NodeHeader, findings: Findings) -> None:
    oldest = max(0, head.number - settings.memory_blocks)
    try:
        await node.call("eth_getBalance", ["0x" + "00" * 20, hex(oldest)])
    except RpcError as error:
        findings.warning(
            f"it has no state {settings.memory_blocks} blocks back: {error.message}",
            "late snapshots are taken at newer blocks; keep at least ARENA_MEMORY_BLOCKS of state",
        )


async def _check_batches(node: Node, findings: Findings) -> None:
    try:
        answers = await node.batch([("eth_chainId", [])] * BATCH)
    except RateLimited as error:
        findings.problem(
            f"its rate limit refuses {BATCH} calls in one request: {error}",
            "set ARENA_RPC_PER_S to what the provider's plan allows, or use a node of your own",
        )
    except (RpcError, NodeUnavailable) as error:
        findings.warning(
            f"it refuses {BATCH} calls in one request ({error}): smaller batches are used, which is slower"
        )
    else:
        refused = sum(isinstance(answer, RpcError) for answer in answers)
        if refused:
            findings.warning(f"it refuses {refused} of {BATCH} calls in one request", "set ARENA_RPC_PER_S")
        else:
            findings.ok(f"it answers {BATCH} calls in one request")


async def _check_subscription(settings: Settings, chain_id: int, findings: Findings) -> None:
    assert settings.rpc_ws is not None
    try:
        async with connect(settings.rpc_ws) as socket:
            other = await socket.chain_id()
            await socket.call("eth_subscribe", ["newHeads"])
    except (NodeUnavailable, RpcError) as error:
        findings.warning(f"ARENA_RPC_WS gives no subscription: {error}", "exex polls instead; mend it, or unset it")
        return
    if other != chain_id:
        findings.problem(f"ARENA_RPC_WS is of chain {other}, ARENA_RPC of chain {chain_id}", "point both to one chain")
    else:
        findings.ok(f"ARENA_RPC_WS {settings.rpc_ws} gives new heads")
