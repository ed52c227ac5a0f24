"""What the trader can do to a pool: the transactions of each action."""

from lab.devnet.chain.blocks import TRADER, Transaction
from lab.devnet.chain.contracts import NATIVE, V4_KEY, Contracts, Pool
from lab.devnet.chain.evm import calldata

COIN_SENT = 10**30
"""Goes along with every V4 call on the chain's coin; what is not needed comes back."""
V4_LIQUIDITY = f"modifyLiquidity({V4_KEY},(int24,int24,int256,bytes32),bytes)"
V4_SWAP = f"swap({V4_KEY},(bool,int256,uint160),(bool,bool),bytes)"


def change_liquidity(contracts: Contracts, pool: Pool, ticks: tuple[int, int], delta: int, salt: int) -> Transaction:
    """0 is a poke."""
    if pool.protocol == "v4":
        change = (*ticks, delta, salt.to_bytes(32, "big"))
        return _v4(contracts.v4_modifier, pool, calldata(V4_LIQUIDITY, pool.key, change, b""))
    if delta > 0:
        return Transaction(
            pool.address, calldata("mint(address,int24,int24,uint128,bytes)", TRADER, *ticks, delta, b"")
        )
    return Transaction(pool.address, calldata("burn(int24,int24,uint128)", *ticks, -delta))


def swap(
    contracts: Contracts, pool: Pool, amount: int, sqrt_price_limit_x96: int, *, zero_for_one: bool
) -> Transaction:
    """`amount` as V3 means it: positive is the exact input, negative the exact output."""
    if pool.protocol == "v4":
        parameters = (zero_for_one, -amount, sqrt_price_limit_x96)
        return _v4(contracts.v4_swapper, pool, calldata(V4_SWAP, pool.key, parameters, (False, False), b""))
    order = (TRADER, zero_for_one, amount, sqrt_price_limit_x96, b"")
    return Transaction(pool.address, calldata("swap(address,bool,int256,uint160,bytes)", *order))


def donate(contracts: Contracts, pool: Pool, amount: int) -> Transaction:
    """V4: a log that changes neither price nor liquidity."""
    return _v4(
        contracts.v4_donor, pool, calldata(f"donate({V4_KEY},uint256,uint256,bytes)", pool.key, amount, amount, b"")
    )


def collect(pool: Pool, ticks: tuple[int, int]) -> Transaction:
    """V3: likewise."""
    most = 2**128 - 1
    return Transaction(
        pool.address, calldata("collect(address,int24,int24,uint128,uint128)", TRADER, *ticks, most, most)
    )


def v2_mint(pool: Pool, amount0: int, amount1: int) -> list[Transaction]:
    return [*_v2_pay(pool, amount0, amount1), Transaction(pool.address, calldata("mint(address)", TRADER))]


def v2_burn(pool: Pool, shares: int) -> list[Transaction]:
    return [
        Transaction(pool.address, calldata("transfer(address,uint256)", pool.address, shares)),
        Transaction(pool.address, calldata("burn(address)", TRADER)),
    ]


def v2_swap(pool: Pool, amounts_in: tuple[int, int], amounts_out: tuple[int, int]) -> list[Transaction]:
    order = calldata("swap(uint256,uint256,address,bytes)", *amounts_out, TRADER, b"")
    return [*_v2_pay(pool, *amounts_in), Transaction(pool.address, order)]


def v2_donate(pool: Pool, amount0: int, amount1: int, *, kept: bool) -> list[Transaction]:
    """Tokens sent in without a trade: `sync` takes them into the reserves, `skim` hands them out with no Sync log."""
    end = calldata("sync()") if kept else calldata("skim(address)", TRADER)
    return [*_v2_pay(pool, amount0, amount1), Transaction(pool.address, end)]


def _v2_pay(pool: Pool, amount0: int, amount1: int) -> list[Transaction]:
    return [
        Transaction(token, calldata("transfer(address,uint256)", pool.address, amount))
        for token, amount in ((pool.token0, amount0), (pool.token1, amount1))
        if amount
    ]


def _v4(router: str, pool: Pool, data: str) -> Transaction:
    return Transaction(router, data, COIN_SENT if pool.token0 == NATIVE else 0)
