import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocols.types import PoolId, PoolMetadata, Token
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_encoder import Envelope, TooLarge, encode_add, encode_full, encode_remove
from streams.nats.whitelist_state import FullList, MinimalList, apply_full, apply_minimal

CHAIN = "ethereum"
A, B, C = (PoolId("0x" + digit * 40) for digit in "abc")
V4 = PoolId("0x" + "4d" * 32)
USDC = Token("0x" + "01" * 20, 6, "USDC")
WETH = Token("0x" + "02" * 20, 18, "WETH")
NATIVE = Token("0x" + "00" * 20, 18)
FACTORY = "0x" + "fa" * 20
PAIR = PoolMetadata(A, "v2", USDC, WETH, factory=FACTORY)
POOL = PoolMetadata(B, "v3", USDC, WETH, fee=500, tick_spacing=10, factory=FACTORY)
SINGLETON = PoolMetadata(V4, "v4", NATIVE, USDC, fee=0x800000, tick_spacing=60, factory=FACTORY)


def nested_token(token: Token) -> dict[str, Any]:
    return {"address": token.address, "decimals": token.decimals, "symbol": token.symbol}


def nested(pool: PoolMetadata, **changes: Any) -> dict[str, Any]:
    fields = {
        "address": pool.id,
        "token0": nested_token(pool.token0),
        "token1": nested_token(pool.token1),
        "protocol": pool.protocol,
        "factory": pool.factory,
        "fee": pool.fee,
        "tick_spacing": pool.tick_spacing,
    }
    return fields | changes


def flat(pool: PoolMetadata, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": pool.id,
        "protocol": pool.protocol,
        "token0": pool.token0.address,
        "token1": pool.token1.address,
        "fee": pool.fee,
        "tick_spacing": pool.tick_spacing,
        "token0_decimals": pool.token0.decimals,
        "token1_decimals": pool.token1.decimals,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def of_flat(pool: PoolMetadata) -> PoolMetadata:
    """What a flat entry can say of the pool."""
    token0, token1 = (Token(token.address, token.decimals) for token in (pool.token0, pool.token1))
    return PoolMetadata(pool.id, pool.protocol, token0, token1, pool.fee, pool.tick_spacing)


def message(pools: list[Any] | None = None, **fields: Any) -> bytes:
    fields = {"chain": CHAIN, "timestamp": "2026-01-01T00:00:00+00:00"} | fields
    return json.dumps(fields if pools is None else fields | {"pools": pools}).encode()


def full(held: FullList, kind: str, payload: bytes) -> FullList:
    return apply_full(held, f"whitelist.pools.{CHAIN}.{kind}", payload, CHAIN)


def minimal(held: MinimalList, kind: str, payload: bytes) -> MinimalList:
    return apply_minimal(held, f"whitelist.pools.{CHAIN}.{kind}", payload, CHAIN)


def holding(*pools: PoolMetadata) -> FullList:
    return FullList({pool.id: pool for pool in pools})


def test_the_seeds_full_message_replaces() -> None:
    held = full(holding(PAIR), "full", message([nested(POOL), nested(SINGLETON, address=A, pool_id=V4)]))

    assert held == holding(POOL, SINGLETON)


def test_the_seeds_minimal_message_replaces() -> None:
    held = minimal(MinimalList({A: None}), "minimal", message([B, V4]))

    assert held == MinimalList({B: None, V4: "v4"})


def test_a_typed_minimal_message_names_the_protocols() -> None:
    payload = message([A, B, V4], type="full", snapshot_id=1, pool_count=3, protocols=["v2", "uniswap_v3", "UniswapV4"])

    assert minimal(MinimalList(), "minimal", payload).pools == {A: "v2", B: "v3", V4: "v4"}


def test_typed_minimal_messages_add_and_remove() -> None:
    held = minimal(MinimalList({A: "v2"}), "minimal", message([B], type="add", protocols=["v3"]))
    assert held.pools == {A: "v2", B: "v3"}

    assert minimal(held, "minimal", message([A], type="remove", protocols=["v2"])).pools == {B: "v3"}


def test_typed_full_messages_add_replace_and_remove() -> None:
    held = full(holding(PAIR), "full", message([nested(POOL)], type="add", snapshot_id=1))
    assert held == holding(PAIR, POOL)

    held = full(held, "full", message(type="remove", pool_addresses=[A.upper().replace("X", "x")], snapshot_id=2))
    assert held == holding(POOL)

    assert full(held, "full", message([nested(SINGLETON)], type="full", snapshot_id=3)) == holding(SINGLETON)


def test_a_flat_full_message_replaces() -> None:
    held = full(holding(PAIR), "full", message([flat(POOL), flat(SINGLETON)]))

    assert held == holding(of_flat(POOL), of_flat(SINGLETON))


def test_a_flat_full_message_of_just_what_a_minimal_one_added_is_an_add() -> None:
    held = full(holding(PAIR), "minimal", message([B], type="add", protocols=["v3"]))

    assert full(held, "full", message([flat(POOL)])) == holding(PAIR, of_flat(POOL))


@pytest.mark.parametrize(
    "before",
    [
        message([B], type="full", protocols=["v3"]),
        message([B, C], type="add", protocols=["v3", "v3"]),
        message([B]),
    ],
)
def test_a_flat_full_message_after_any_other_minimal_one_replaces(before: bytes) -> None:
    held = full(holding(PAIR), "minimal", before)

    assert full(held, "full", message([flat(POOL)])) == holding(of_flat(POOL))


def test_an_announcement_counts_for_one_message_only() -> None:
    held = full(holding(PAIR), "minimal", message([B], type="add"))
    held = full(held, "full", message([flat(POOL)]))

    assert full(held, "full", message([flat(POOL)])) == holding(of_flat(POOL))


def test_a_nested_full_message_without_a_type_replaces_whatever_was_announced() -> None:
    held = full(holding(PAIR), "minimal", message([B], type="add"))

    assert full(held, "full", message([nested(POOL)])) == holding(POOL)


def test_a_type_full_message_replaces_though_its_pools_were_announced() -> None:
    held = full(holding(PAIR), "minimal", message([B], type="add"))

    assert full(held, "full", message([flat(POOL)], type="full")) == holding(of_flat(POOL))


def test_a_minimal_remove_takes_pools_off_the_full_list_too() -> None:
    assert full(holding(PAIR, POOL), "minimal", message([A], type="remove")) == holding(POOL)


def test_by_subject_full_replaces_add_adds_and_remove_removes() -> None:
    held = full(holding(PAIR), "full", message([nested(POOL)]))
    assert held == holding(POOL)

    held = full(held, "add", message([nested(SINGLETON, address=V4)]))
    assert held == holding(POOL, SINGLETON)

    assert full(held, "remove", message(pool_addresses=[V4, A], snapshot_id=7)) == holding(POOL)


@pytest.mark.parametrize("fields", ["full", "remove", "add", "nonsense"])
def test_the_subject_goes_before_the_type(fields: str) -> None:
    assert full(holding(PAIR), "add", message([nested(POOL)], type=fields)) == holding(PAIR, POOL)
    assert full(holding(PAIR, POOL), "remove", message([A], type=fields)) == holding(POOL)


def test_the_minimal_list_follows_the_add_and_remove_subjects_and_leaves_full_alone() -> None:
    held = minimal(MinimalList({A: "v2"}), "add", message([nested(POOL)]))
    assert held.pools == {A: "v2", B: None}

    held = minimal(held, "remove", message(pool_addresses=[A]))
    assert held.pools == {B: None}

    assert minimal(held, "full", message([nested(SINGLETON)])).pools == {B: None}


def test_addresses_come_in_any_case_and_are_kept_in_lower_case() -> None:
    checksummed = nested(POOL, address="0x" + "B" * 40, factory="0X" + "FA" * 20)

    assert full(FullList(), "full", message([checksummed])) == holding(POOL)


@pytest.mark.parametrize("spelling", ["v3", "V3", "uniswap_v3", "UniswapV3"])
def test_all_spellings_of_a_protocol_are_read(spelling: str) -> None:
    assert full(FullList(), "full", message([nested(POOL, protocol=spelling)])) == holding(POOL)


@pytest.mark.parametrize("place", ["pool_id", "id", "address"])
def test_a_v4_pool_id_is_found_wherever_it_stands(place: str) -> None:
    fields = {name: value for name, value in nested(SINGLETON).items() if name != "address"}

    assert full(FullList(), "full", message([fields | {place: V4.upper().replace("0X", "0x")}])) == holding(SINGLETON)


def test_a_token_that_takes_a_fee_on_transfers_is_marked_and_published_so() -> None:
    marked = PoolMetadata(B, "v3", USDC, Token("0x" + "f0" * 20, 18, "FEE", fee_on_transfer=True), 500, 10, FACTORY)
    listed = nested(marked, token1=nested_token(marked.token1) | {"fee_on_transfer": True})

    assert full(FullList(), "full", message([listed])) == holding(marked)
    (published,) = (m for m in encode_full(ENVELOPE, [marked], 4096) if m.subject.endswith(".full"))
    assert json.loads(published.payload)["pools"][0]["token1"]["fee_on_transfer"] is True


UNDECODABLE = [
    (nested(POOL, fee=None), "a v3 pool needs its fee"),
    (nested(POOL, tick_spacing=None), "a v3 pool needs its tick_spacing"),
    (nested(SINGLETON, fee=None), "a v4 pool needs its fee"),
    (nested(POOL, tick_spacing=0), "tick_spacing 0 is not in"),
    (nested(POOL, fee=2**24), "fee 16777216 is not in"),
    (nested(POOL, protocol="curve"), "protocol 'curve' is not followed"),
    (nested(POOL, protocol=None), "Expected `str`, got `null`"),
    (nested(POOL, address="0x12"), "'0x12' is neither an address nor a pool id"),
    (nested(POOL, address=V4), "cannot be a v3 pool"),
    (nested(SINGLETON, address=C), "cannot be a v4 pool"),
    (nested(POOL, token0={"decimals": 6}), "missing required field `address`"),
    (nested(POOL, token0=nested_token(WETH)), "both tokens are"),
    (nested(POOL, token1={"address": "weth"}), "'weth' is no address"),
    (nested(POOL, factory="0xfa"), "'0xfa' is no address"),
    (7, "Expected"),
    ("0xzz", "neither an address nor a pool id"),
]


@pytest.mark.parametrize(("entry", "reason"), UNDECODABLE)
def test_one_undecodable_pool_is_skipped_with_the_reason_and_the_rest_is_kept(entry: Any, reason: str) -> None:
    held = full(FullList(), "full", message([nested(PAIR), entry]))

    assert held.pools == {A: PAIR}
    assert len(held.skipped) == 1
    assert held.skipped[0].startswith("pool 1 of full")
    assert reason in held.skipped[0]


def test_an_entry_that_is_not_utf_8_is_skipped_like_any_undecodable_one() -> None:
    payload = message([nested(PAIR), nested(POOL)]).replace(b"USDC", b"US\xb0C", 1)

    held = full(FullList(), "full", payload)

    assert held.pools == {B: POOL}
    assert len(held.skipped) == 1


def test_a_held_pool_whose_new_entry_is_undecodable_stays() -> None:
    held = full(holding(POOL), "full", message([nested(PAIR), nested(POOL, fee=None)]))

    assert held.pools == {A: PAIR, B: POOL}
    assert len(held.skipped) == 1


def test_a_minimal_entry_of_an_unknown_protocol_is_skipped() -> None:
    held = minimal(MinimalList(), "minimal", message([A, B, C], protocols=["v2", "ekubo", "v4"], type="full"))

    assert held.pools == {A: "v2"}
    assert len(held.skipped) == 2


REJECTED = [
    ("full", b"", "truncated"),
    ("full", b"{", "truncated"),
    ("full", b'{"chain":"ethereum","pools":', "truncated"),
    ("full", b"\xff\xfe", "malformed"),
    ("full", b"[]", "Expected `object`"),
    ("full", message([nested(POOL)], chain="base"), "the message is of chain 'base', this is 'ethereum'"),
    ("full", message([nested(POOL)], type="merge"), "type 'merge' is none of full, add and remove"),
    ("full", message([nested(POOL)], protocols=[]), "0 protocols for 1 pools"),
    ("minimal", message([A, B], protocols=["v2"]), "1 protocols for 2 pools"),
    ("full", message(), "names no pools"),
    ("full", message([]), "without one readable pool"),
    ("full", message([nested(POOL, fee=None)]), "without one readable pool does not replace the one held; pool 0"),
    ("minimal", message(["0x1"]), "without one readable pool"),
    ("remove", message(), "names no pools"),
    ("other", message([nested(POOL)]), "is no subject of ethereum's whitelist"),
    ("full", message([nested(POOL)], part=3, parts=2, snapshot_id=1), "part 3 of 2"),
    ("full", message([nested(POOL)], part=1, parts=2), "part 1 of 2 of snapshot None"),
]


@pytest.mark.parametrize(("kind", "payload", "reason"), REJECTED)
def test_an_invalid_message_is_rejected_whole(kind: str, payload: bytes, reason: str) -> None:
    """Replacing by a list without a readable pool is refused by the list that the subject replaces."""
    readers: list[Callable[[], object]] = [
        lambda: full(holding(PAIR), kind, payload),
        lambda: minimal(MinimalList({A: "v2"}), kind, payload),
    ]
    if reason.startswith("without"):
        readers = readers[:1] if kind == "full" else readers[1:]
    for reader in readers:
        with pytest.raises(Rejected, match=reason):
            reader()


@given(st.binary(max_size=200), st.sampled_from(["full", "minimal", "add", "remove"]))
def test_garbage_is_rejected(garbage: bytes, kind: str) -> None:
    for reader in (lambda: full(holding(PAIR), kind, garbage), lambda: minimal(MinimalList({A: "v2"}), kind, garbage)):
        try:
            held = reader()
        except Rejected:
            continue
        assert set(held.pools) == {A}


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("kind", ["full", "minimal", "add", "remove"])
@pytest.mark.parametrize("payload", [DEEP, b'{"unknown":' + DEEP + b"}", b'{"pools":[' + DEEP + b"]}"])
def test_a_deeply_nested_message_is_rejected_and_the_list_stays(kind: str, payload: bytes) -> None:
    for reader in (lambda: full(holding(PAIR), kind, payload), lambda: minimal(MinimalList({A: "v2"}), kind, payload)):
        try:
            held = reader()
        except Rejected:
            continue
        assert set(held.pools) == {A}


def many(count: int) -> list[PoolMetadata]:
    return [PoolMetadata(PoolId(f"0x{i:040x}"), "v3", USDC, WETH, 500, 10, FACTORY) for i in range(1, count + 1)]


ENVELOPE = Envelope(CHAIN, "2026-01-01T00:00:00+00:00", 1_767_225_600_000)


@pytest.mark.parametrize("order", [1, -1])
def test_a_list_too_large_for_one_message_is_joined_from_its_parts(order: int) -> None:
    pools = many(100)
    held, listed = holding(PAIR), MinimalList()
    outgoing = encode_full(ENVELOPE, pools, max_payload=4096)[::order]
    assert len(outgoing) > 4
    assert all(len(message.payload) <= 4096 for message in outgoing)

    for subject, payload in outgoing:
        assert len(held.pools) in (1, 100), "never half of it"
        held = apply_full(held, subject, payload, CHAIN)
        listed = apply_minimal(listed, subject, payload, CHAIN)

    assert held.pools == {pool.id: pool for pool in pools}
    assert set(listed.pools.values()) == {"v3"}
    assert len(listed.pools) == 100


def test_parts_of_another_snapshot_are_not_joined() -> None:
    old = [m for m in encode_full(ENVELOPE, many(100), 4096) if ".full." in m.subject]
    new = [m for m in encode_full(ENVELOPE._replace(snapshot_id=2), many(90), 4096) if ".full." in m.subject]
    held = holding(PAIR)

    for subject, payload in [*old[:-1], *new]:
        held = apply_full(held, subject, payload, CHAIN)

    assert len(held.pools) == 90


@pytest.mark.parametrize("max_payload", [4096, 1 << 20])
def test_what_we_publish_is_what_we_read(max_payload: int) -> None:
    held, listed = FullList(), MinimalList()
    extra = many(60)
    for subject, payload in [
        *encode_full(ENVELOPE, [PAIR, POOL, SINGLETON], max_payload),
        *encode_add(ENVELOPE, extra, max_payload),
        *encode_remove(ENVELOPE, [A, *(pool.id for pool in extra[:30])], max_payload),
    ]:
        assert len(payload) <= max_payload
        held = apply_full(held, subject, payload, CHAIN)
        listed = apply_minimal(listed, subject, payload, CHAIN)

    assert held.pools == {pool.id: pool for pool in [POOL, SINGLETON, *extra[30:]]}
    assert listed.pools == {pool.id: pool.protocol for pool in held.pools.values()}


def test_a_pool_larger_than_a_message_fails_loudly() -> None:
    with pytest.raises(TooLarge, match="the server takes messages of 600"):
        encode_full(ENVELOPE, [POOL], max_payload=600)


@pytest.mark.parametrize("hooks", ["0x" + "0c" * 20, "0x" + "00" * 20, None])
def test_the_hooks_of_a_v4_pool_are_published_and_read(hooks: str | None) -> None:
    """All zeros: it has none; absent: the publisher does not say."""
    hooked = replace(SINGLETON, hooks=hooks)
    (sent,) = [each for each in encode_full(ENVELOPE, [hooked], 1 << 20) if each.subject.endswith(".full")]

    assert json.loads(sent.payload)["pools"][0].get("hooks") == hooks
    assert apply_full(FullList(), sent.subject, sent.payload, CHAIN) == holding(hooked)


def test_hooks_of_other_pools_are_ignored() -> None:
    assert full(holding(PAIR), "full", message([nested(POOL, hooks="0x" + "0c" * 20)])) == holding(POOL)


def test_an_empty_list_is_never_published_as_a_replacement() -> None:
    with pytest.raises(ValueError, match="remove its pools instead"):
        encode_full(ENVELOPE, [], 1 << 20)
