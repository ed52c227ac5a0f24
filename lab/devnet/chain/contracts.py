"""The real Uniswap and PancakeSwap contracts on a chain of ours, and its first pools."""

from typing import Any, Self

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak

from lab.devnet.chain.blocks import TRADER, Chain, Transaction
from lab.devnet.chain.evm import address, calldata, encoded, words
from lab.devnet.chain.programs import pancake_deployer
from lab.devnet.servers.packages import artifact
from protocols.ticks import sqrt_ratio_at_tick
from protocols.types import PoolId, PoolMetadata, ProtocolName, Token

NATIVE = "0x" + "00" * 20
DYNAMIC_FEE = 0x800000
QUIET_HOOKS = "0x000000000000000000000000000000000abc0000"
"""None of the low 14 bits is set: the manager never calls it, but lets it set the fee of its pools."""
PANCAKE_DEPLOYER = "0x0000000000000000000000000000000000de9107"
V4_KEY = "(address,address,uint24,int24,address)"
PLENTY = 2**200


class Pool(msgspec.Struct, frozen=True):
    id: PoolId
    protocol: ProtocolName
    address: str
    """The pair, the pool, or the PoolManager of a V4 pool."""
    token0: str
    token1: str
    factory: str
    """The PoolManager of a V4 pool."""
    fee: int | None = None
    tick_spacing: int = 0
    hooks: str = NATIVE

    @property
    def metadata(self) -> PoolMetadata:
        tokens = Token(self.token0), Token(self.token1)
        return PoolMetadata(self.id, self.protocol, *tokens, self.fee, self.tick_spacing or None, self.factory)

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """V4's PoolKey."""
        return (self.token0, self.token1, self.fee or 0, self.tick_spacing, self.hooks)


class Contracts(msgspec.Struct, frozen=True):
    tokens: tuple[str, ...]
    """Ascending by address, as pools sort them."""
    v2_factory: str
    v3_factory: str
    pancake_factory: str
    manager: str
    v4_modifier: str
    v4_swapper: str
    v4_donor: str
    multicall: str

    @classmethod
    def deployed(cls, chain: Chain, tokens_count: int = 4) -> Self:
        pancake_pool = bytes.fromhex(initcode(f"{PANCAKE}/PancakeV3Pool.sol/PancakeV3Pool.json")[2:])
        chain.rpc.call("anvil_setCode", PANCAKE_DEPLOYER, "0x" + pancake_deployer(pancake_pool).hex())
        *tokens, v2_factory, v3_factory, pancake_factory, manager, multicall = chain.create(
            *(token_initcode(f"T{number}", 18) for number in range(tokens_count)),
            initcode("@uniswap/v2-core/build/UniswapV2Factory.json", "(address)", TRADER),
            initcode("@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"),
            initcode(f"{PANCAKE}/PancakeV3Factory.sol/PancakeV3Factory.json", "(address)", PANCAKE_DEPLOYER),
            initcode(f"{V4}/PoolManager.sol/PoolManager.json", "(address)", TRADER),
            initcode(f"{LENS}/UniswapInterfaceMulticall.sol/UniswapInterfaceMulticall.json"),
        )
        v4_modifier, v4_swapper, v4_donor = chain.create(
            *(
                initcode(f"{V4}/{name}.sol/{name}.json", "(address)", manager)
                for name in ("PoolModifyLiquidityTest", "PoolSwapTest", "PoolDonateTest")
            )
        )
        chain.succeed(
            [
                Transaction(each, calldata("approve(address,uint256)", spender, 2**256 - 1))
                for each in tokens
                for spender in (v4_modifier, v4_swapper, v4_donor)
            ]
            + [Transaction(each, calldata("mint(address,uint256)", TRADER, PLENTY)) for each in tokens]
            + [
                Transaction(v3_factory, calldata("enableFeeAmount(uint24,int24)", 100, 1)),
                Transaction(manager, calldata("setProtocolFeeController(address)", TRADER)),
            ]
        )
        return cls(
            tuple(sorted(tokens)),
            v2_factory,
            v3_factory,
            pancake_factory,
            manager,
            v4_modifier,
            v4_swapper,
            v4_donor,
            multicall,
        )


V4 = "@uniswap/v4-core/out"
PANCAKE = "@pancakeswap/v3-core/artifacts/contracts"
LENS = "@uniswap/v3-periphery/artifacts/contracts/lens"


def initcode(path: str, types: str = "()", *arguments: Any) -> str:
    bytecode = artifact(path)["bytecode"]
    code = str(bytecode if isinstance(bytecode, str) else bytecode["object"]).removeprefix("0x")
    return "0x" + code + encoded(types, *arguments).hex()


def token_initcode(symbol: str, decimals: int) -> str:
    """An ERC-20 token that anyone can `mint(address,uint256)`."""
    return initcode(f"{V4}/mocks/MockERC20.sol/MockERC20.json", "(string,string,uint8)", symbol, symbol, decimals)


def first_pools(chain: Chain, contracts: Contracts) -> list[Pool]:
    """Three V2 pairs, five V3 pools (one of them PancakeSwap's) and five V4 pools, priced, without liquidity."""
    t0, t1, t2, t3 = contracts.tokens
    pools = [create_v2(chain, contracts, *pair) for pair in ((t0, t1), (t0, t2), (t1, t3))]
    pools += [
        create_v3(chain, contracts.v3_factory, (t0, t1), 100, at_tick=-37),
        create_v3(chain, contracts.v3_factory, (t0, t1), 500, at_tick=193_385),
        create_v3(chain, contracts.v3_factory, (t0, t2), 3000, at_tick=-74_959),
        create_v3(chain, contracts.v3_factory, (t1, t2), 10_000, at_tick=0),
        create_v3(chain, contracts.pancake_factory, (t1, t3), 2500, at_tick=12_345),
        create_v4(chain, contracts.manager, (t0, t1, 100, 1, NATIVE), at_tick=5),
        create_v4(chain, contracts.manager, (t0, t1, 500, 10, NATIVE), at_tick=-193_385),
        create_v4(chain, contracts.manager, (t2, t3, 3000, 60, NATIVE), at_tick=60),
        create_v4(chain, contracts.manager, (NATIVE, t1, 10_000, 200, NATIVE), at_tick=-1),
        create_v4(chain, contracts.manager, (t1, t2, DYNAMIC_FEE, 60, QUIET_HOOKS), at_tick=30_000),
    ]
    _set_fees(chain, pools)
    return pools


def create_v2(chain: Chain, contracts: Contracts, token0: str, token1: str) -> Pool:
    chain.succeed([Transaction(contracts.v2_factory, calldata("createPair(address,address)", token0, token1))])
    pair = _address_from(chain, contracts.v2_factory, calldata("getPair(address,address)", token0, token1))
    return Pool(PoolId(pair), "v2", pair, token0, token1, contracts.v2_factory)


def create_v3(chain: Chain, factory: str, tokens: tuple[str, str], fee: int, *, at_tick: int) -> Pool:
    chain.succeed([Transaction(factory, calldata("createPool(address,address,uint24)", *tokens, fee))])
    pool = _address_from(chain, factory, calldata("getPool(address,address,uint24)", *tokens, fee))
    chain.succeed([Transaction(pool, calldata("initialize(uint160)", sqrt_ratio_at_tick(at_tick)))])
    spacing = words(chain.rpc.call("eth_call", {"to": pool, "data": calldata("tickSpacing()")}, "latest"))[0]
    return Pool(PoolId(pool), "v3", pool, *tokens, factory, fee, spacing)


def create_v4(chain: Chain, manager: str, key: tuple[str, str, int, int, str], *, at_tick: int) -> Pool:
    price = sqrt_ratio_at_tick(at_tick)
    chain.succeed([Transaction(manager, calldata(f"initialize({V4_KEY},uint160)", key, price))])
    return v4_pool(manager, key)


def v4_pool(manager: str, key: tuple[str, str, int, int, str]) -> Pool:
    token0, token1, fee, tick_spacing, hooks = key
    pool_id = PoolId("0x" + keccak(encode([V4_KEY], [key])).hex())
    return Pool(pool_id, "v4", manager, token0, token1, manager, fee, tick_spacing, hooks)


def _set_fees(chain: Chain, pools: list[Pool]) -> None:
    """Fee bits beside price and tick, which a reader of slot0 must not mistake for them."""
    v3 = next(pool for pool in pools if pool.fee == 500 and pool.protocol == "v3")
    v4 = next(pool for pool in pools if pool.fee == 3000 and pool.protocol == "v4")
    dynamic = next(pool for pool in pools if pool.fee == DYNAMIC_FEE)
    chain.succeed(
        [
            Transaction(v3.address, calldata("setFeeProtocol(uint8,uint8)", 4, 10)),
            Transaction(v4.address, calldata(f"setProtocolFee({V4_KEY},uint24)", v4.key, (700 << 12) | 900)),
        ]
    )
    set_dynamic_fee(chain, dynamic, 4321)


def set_dynamic_fee(chain: Chain, pool: Pool, fee: int) -> None:
    """Which emits no log."""
    data = calldata(f"updateDynamicLPFee({V4_KEY},uint24)", pool.key, fee)
    chain.rpc.call("anvil_setBalance", pool.hooks, hex(10**20))
    chain.rpc.call("anvil_impersonateAccount", pool.hooks)
    chain.rpc.call("eth_sendTransaction", {"from": pool.hooks, "to": pool.address, "data": data, "gas": hex(10**6)})
    chain.mine()


def _address_from(chain: Chain, to: str, data: str) -> str:
    return address(words(chain.rpc.call("eth_call", {"to": to, "data": data}, "latest"))[0])
