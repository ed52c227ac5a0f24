"""Quotes and depth over HTTP, from the owner of the pool and from another worker."""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from protocols.dex import PoolState
from protocols.quotes.order import Order
from protocols.quotes.quoting import quote
from protocols.ticks import from_ticks, sqrt_ratio_at_tick
from protocols.types import NATIVE, PoolMetadata
from protocols.v2 import V2State
from streams.kafka.records import Head, Header, Reorg
from streams.kafka.topics import partition_of
from tables.fold import fold_chain
from tables.partition import Changes
from tests.support.quotes.cluster import (
    COIN,
    DAI,
    DYNAMIC,
    HOOKED,
    POOLS,
    TAXED_PAIR,
    UNKNOWN_FORK,
    USDC,
    V2,
    V3,
    V4,
    WAITS,
    cluster,
)
from tests.support.web_cluster import PARTITIONS, Cluster, block

ETH = 10**18
ENVELOPE = {"chain", "chain_id", "block", "age_s", "finalized"}


@pytest.fixture
async def workers() -> AsyncIterator[Cluster]:
    started = cluster()
    await started.start()
    yield started
    await started.stop()


def asked(pool: PoolMetadata, token: str, **more: object) -> str:
    return f"/pools/{pool.id}/quote?token_in={token}" + "".join(f"&{name}={value}" for name, value in more.items())


async def test_an_exact_input_is_quoted_as_of_the_head(workers: Cluster) -> None:
    status, body = await workers.get(asked(V2, NATIVE, amount_in=ETH))

    out = ETH * 997 * 3_000 * 10**9 // (10**21 * 1000 + ETH * 997)
    assert status == 200
    assert body["block"] == {
        "number": 3,
        "hash": block(3).hash,
        "parent_hash": block(2).hash,
        "timestamp": 3_000,
    }
    assert {name: value for name, value in body.items() if name not in ENVELOPE} == {
        "pool": V2.id,
        "token_in": NATIVE,
        "token_out": USDC.address,
        "amount_in": str(ETH),
        "amount_out": str(out),
        "fee_amount": str(3 * 10**15),
        "price_before": "3000",
        "price_after": body["price_after"],
        "sqrt_price_x96_after": None,
        "tick_after": None,
        "ticks_crossed": 0,
        "price_impact": body["price_impact"],
        "fees_block": None,
    }
    assert Decimal(str(body["price_after"])) == pytest.approx(Decimal(2994), rel=Decimal("1e-4"))
    assert Decimal(str(body["price_impact"])) == pytest.approx(1 - Decimal(out) / (3 * 10**9), rel=Decimal("1e-9"))


async def test_every_worker_gives_the_same_quote_of_every_pool(workers: Cluster) -> None:
    for pool in POOLS:
        answers = [await workers.get(asked(pool, pool.token0.address, amount_in=10**15), each) for each in (0, 1)]

        for _, body in answers:
            body.pop("age_s", None)
        assert answers[0] == answers[1]


@pytest.mark.parametrize("coin", [NATIVE, "0x" + "Ee" * 20])
async def test_an_exact_output_costs_what_buys_it(workers: Cluster, coin: str) -> None:
    _, bought = await workers.get(asked(V4, coin, amount_out=ETH))
    _, again = await workers.get(asked(V4, coin, amount_in=bought["amount_in"]))

    assert (bought["token_in"], bought["amount_out"]) == (NATIVE, str(ETH))
    assert again["amount_out"] == bought["amount_out"]
    assert bought["fees_block"] == 1
    assert isinstance(bought["tick_after"], int)


async def test_a_quote_is_what_the_library_gives_for_the_same_state(workers: Cluster) -> None:
    state = PoolState(V2State(10**21, 3_000 * 10**9), from_ticks(1, ()))
    expected = quote(V2, state, Order(False, 10**9))

    _, body = await workers.get(asked(V2, USDC.address, amount_in=10**9))

    assert (body["amount_in"], body["amount_out"]) == (str(expected.amount_in), str(expected.amount_out))


async def test_a_dynamic_fee_is_quoted_as_of_the_block_that_it_was_read_at(workers: Cluster) -> None:
    _, body = await workers.get(asked(DYNAMIC, NATIVE, amount_in=10**12))

    assert (body["fee_amount"], body["fees_block"]) == (str(900 + 4321 - 900 * 4321 // 10**6) + "000000", 1)


async def test_a_price_limit_leaves_a_part(workers: Cluster) -> None:
    limit = sqrt_ratio_at_tick(-10)
    _, body = await workers.get(asked(V3, USDC.address, amount_in=10**30, price_limit=limit))

    assert body["sqrt_price_x96_after"] == str(limit)
    assert int(str(body["amount_in"])) < 10**30


async def test_blocks_in_memory_can_be_quoted(workers: Cluster) -> None:
    answers: list[Mapping[str, Any]] = []
    for at in ("1", block(2).hash, "3"):
        _, body = await workers.get(asked(V3, USDC.address, amount_in=10**20, at=at))
        answers.append(body)
    status, refused = await workers.get(asked(V3, USDC.address, amount_in=10**20, at=9))

    assert [each["block"]["number"] for each in answers] == [1, 2, 3]
    assert answers[0]["amount_out"] == answers[1]["amount_out"] < answers[2]["amount_out"]
    assert (status, refused["first"], refused["last"]) == (404, 1, 3)


@pytest.mark.parametrize(
    ("pool", "token", "reason"),
    [
        (HOOKED, USDC.address, "hooks"),
        (WAITS, USDC.address, "waiting"),
        (TAXED_PAIR, USDC.address, "fee_on_transfer"),
        (UNKNOWN_FORK, USDC.address, "fee_unknown"),
        (V3, COIN.address, "token"),
    ],
)
async def test_what_cannot_be_known_is_refused_with_the_reason(
    workers: Cluster, pool: PoolMetadata, token: str, reason: str
) -> None:
    status, body = await workers.get(asked(pool, token, amount_in=10**15))

    assert (status, body["reason"]) == (422, reason)
    assert " " in str(body["error"])
    assert body["block"] == {"number": 3, "hash": block(3).hash, "parent_hash": block(2).hash, "timestamp": 3_000}


async def test_liquidity_that_ends_is_refused_with_what_can_be_had(workers: Cluster) -> None:
    status, body = await workers.get(asked(V3, USDC.address, amount_in=10**30))

    assert (status, body["reason"]) == (422, "liquidity")
    _, most = await workers.get(asked(V3, USDC.address, amount_in=body["most_amount_in"]))
    assert most["amount_out"] == body["most_amount_out"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?amount_in=1",
        f"?token_in={USDC.address}",
        f"?token_in={USDC.address}&amount_in=1&amount_out=1",
        f"?token_in={USDC.address}&amount_in=-1",
        f"?token_in={USDC.address}&amount_in=1e18",
        f"?token_in={USDC.address}&amount_in={'9' * 79}",
        "?token_in=USDC&amount_in=1",
    ],
)
async def test_a_request_that_cannot_be_read_is_answered_with_400(workers: Cluster, query: str) -> None:
    status, body = await workers.get(f"/pools/{V3.id}/quote{query}")

    assert status == 400
    assert " " in str(body["error"])


async def test_depth_has_points_on_both_sides_that_quotes_confirm(workers: Cluster) -> None:
    for pool in (V2, V3, V4):
        _, body = await workers.get(f"/pools/{pool.id}/depth/?points=10")
        for side, token in (("token0_in", pool.token0), ("token1_in", pool.token1)):
            points: Any = body[side]
            assert len(points) == 10
            assert [int(each["amount_in"]) for each in points] == sorted(int(each["amount_in"]) for each in points)
            point = points[4]
            order = {"price_limit": point["sqrt_price_x96_after"], "amount_in": 10**40}
            if pool is V2:
                order = {"amount_in": point["amount_in"]}
            _, swap = await workers.get(asked(pool, token.address, **order))
            assert {name: swap[name] for name in point if name != "price_after"} == {
                name: value for name, value in point.items() if name != "price_after"
            }


@pytest.mark.parametrize(("query", "status"), [("points=0", 400), ("points=2001", 400), ("points=2000", 200)])
async def test_depth_has_two_thousand_points_at_most(workers: Cluster, query: str, status: int) -> None:
    answered, _ = await workers.get(f"/pools/{V3.id}/depth/?{query}")

    assert answered == status


async def test_depth_of_what_cannot_be_known_is_refused(workers: Cluster) -> None:
    status, body = await workers.get(f"/pools/{HOOKED.id}/depth/")

    assert (status, body["reason"]) == (422, "hooks")


async def test_a_pool_says_what_is_locked_in_it(workers: Cluster) -> None:
    _, pair = await workers.get(f"/pools/{V2.id}/")
    _, pool = await workers.get(f"/pools/{V3.id}/")
    _, waiting = await workers.get(f"/pools/{WAITS.id}/")

    assert pair["tvl"] == {"token0": str(10**21), "token1": str(3_000 * 10**9)}
    locked: Any = pool["tvl"]
    assert int(locked["token1"]) == 2 * 10**21 * (2**96 - sqrt_ratio_at_tick(-6000)) >> 96
    assert abs(int(locked["token0"]) - int(locked["token1"])) < 10**3
    assert waiting["tvl"] is None


async def test_many_quotes_are_as_of_one_block(workers: Cluster) -> None:
    order = {"token_in": USDC.address, "amount_in": 10**9}
    quotes = [order | {"pool": pool.id} for pool in (V2, V3, HOOKED, WAITS)] + [order | {"pool": "0x" + "00" * 20}]

    for worker in (0, 1):
        status, body = await workers.post("/quote", {"quotes": quotes, "at": 3}, worker)

        assert status == 200
        assert body["block"]["number"] == 3
        assert [each.get("reason") for each in body["quotes"]] == [None, None, "hooks", "waiting", "unknown_pool"]
        _, single = await workers.get(asked(V3, USDC.address, amount_in=10**9))
        assert body["quotes"][1] == {name: value for name, value in single.items() if name not in ENVELOPE}


async def test_a_path_goes_through_pools_of_several_workers(workers: Cluster) -> None:
    assert len({partition_of(each.id.encode(), PARTITIONS) // 2 for each in (V2, V3, V4)}) == 2
    path = {"path": [V2.id, V3.id, V4.id], "token_in": NATIVE}

    _, sold = await workers.post("/quote", {"quotes": [path | {"amount_in": str(ETH)}]})
    (there,) = sold["quotes"]
    _, bought = await workers.post("/quote", {"quotes": [path | {"amount_out": there["amount_out"]}]}, worker=1)
    (back,) = bought["quotes"]

    assert [hop["token_in"] for hop in there["hops"]] == [NATIVE, USDC.address, DAI.address]
    assert [hop["amount_in"] for hop in there["hops"][1:]] == [hop["amount_out"] for hop in there["hops"][:-1]]
    assert (there["path"], there["token_in"], there["token_out"]) == ([V2.id, V3.id, V4.id], NATIVE, NATIVE)
    assert (back["path"], back["amount_out"]) == (there["path"], there["amount_out"])
    assert int(back["amount_in"]) <= ETH
    impacts = [1 - Decimal(hop["price_impact"]) for hop in there["hops"]]
    product = impacts[0] * impacts[1] * impacts[2]
    assert 1 - Decimal(there["price_impact"]) == pytest.approx(product, rel=Decimal("1e-6"))


async def test_a_path_that_does_not_join_is_refused(workers: Cluster) -> None:
    path = {"path": [V2.id, V4.id], "token_in": NATIVE, "amount_in": "5"}

    _, body = await workers.post("/quote", {"quotes": [path]})

    assert body["quotes"][0]["reason"] == "token"


@pytest.mark.parametrize(
    "body",
    [
        "text",
        {},
        {"quotes": []},
        {"quotes": [{"pool": V2.id, "token_in": NATIVE}]},
        {"quotes": [{"token_in": NATIVE, "amount_in": 1}]},
        {"quotes": [{"pool": V2.id, "path": [V2.id], "token_in": NATIVE, "amount_in": 1}]},
        {"quotes": [{"path": [V2.id, V2.id], "token_in": NATIVE, "amount_in": 1}]},
        {"quotes": [{"path": [], "token_in": NATIVE, "amount_in": 1}]},
        {"quotes": [{"pool": V2.id, "token_in": NATIVE, "amount_in": -1}]},
        {"quotes": [{"pool": "V2", "token_in": NATIVE, "amount_in": 1}]},
        {"quotes": [{"pool": V2.id, "token_in": NATIVE, "amount_in": 1}] * 1001},
        {"quotes": [{"path": [V2.id, V4.id], "token_in": NATIVE, "amount_in": 1, "price_limit": 1}]},
        {"quotes": [{"pool": V2.id, "token_in": NATIVE, "amount_in": 1}], "at": "soon"},
    ],
)
async def test_a_body_that_cannot_be_read_is_answered_with_400(workers: Cluster, body: object) -> None:
    status, answer = await workers.post("/quote", body)

    assert status == 400
    assert " " in str(answer["error"])


async def test_a_block_that_is_not_in_memory_is_answered_with_the_range(workers: Cluster) -> None:
    quotes = [{"pool": pool.id, "token_in": USDC.address, "amount_in": 1} for pool in (V2, V3)]

    for at in (99, block(99).hash):
        status, body = await workers.post("/quote", {"quotes": quotes, "at": at})

        assert (status, body["first"], body["last"]) == (404, 1, 3)


async def test_quotes_that_need_a_worker_which_is_gone_are_answered_with_503(workers: Cluster) -> None:
    await workers.runners[1].cleanup()
    quotes = [{"pool": pool.id, "token_in": pool.token0.address, "amount_in": 10**9} for pool in POOLS]

    status, body = await workers.post("/quote", {"quotes": quotes})

    assert status == 503
    assert workers.owners[1].url in body["error"]


async def test_an_answer_that_is_too_old_is_refused(workers: Cluster) -> None:
    quotes = [{"pool": V2.id, "token_in": NATIVE, "amount_in": 10**9}]

    assert (await workers.post("/quote?max_age_s=5", {"quotes": quotes}))[0] == 503
    assert (await workers.get(asked(V2, NATIVE, amount_in=1, max_age_s=5)))[0] == 503


def reorganised(workers: Cluster, last: int) -> None:
    """The second worker's partitions have another block 3, and more, up to `last`."""
    for index in workers.owners[1].mine:
        changes = Changes(workers.processors[1].partitions[index])
        fold_chain(changes, Reorg(block(2)), 3)
        parent = block(2).hash
        for number in range(3, last + 1):
            header = Header(number, f"0x{'f' * 60}{number:04x}", parent, 1_000 * number)
            fold_chain(changes, Head(header, 0), number + 1)
            parent = header.hash
        workers.processors[1].partitions[index] = changes.partition


async def test_workers_that_share_no_block_are_asked_again_and_then_answered_with_503(
    workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.quotes.batch.ATTEMPTS", 2)
    quotes = [{"pool": pool.id, "token_in": NATIVE, "amount_in": 10**15} for pool in (V2, V4)]
    assert len({partition_of(each.id.encode(), PARTITIONS) // 2 for each in (V2, V4)}) == 2

    reorganised(workers, last=4)
    apart, body = await workers.post("/quote", {"quotes": quotes})
    shared, at_two = await workers.post("/quote", {"quotes": quotes, "at": 2})

    assert apart == 503
    assert "no block" in body["error"]
    assert (shared, at_two["block"]["hash"]) == (200, block(2).hash)
