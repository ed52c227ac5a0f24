"""Two EVM programs that the published contracts lack.

* the trader: an account that acts on pools directly and pays what their mint and swap callbacks ask for;
* the deployer of PancakeSwap V3 pools: the npm package has the pool and the factory but not the contract between them.
"""

from lab.devnet.chain.evm import selector

OPERATIONS = {
    "STOP": 0x00,
    "MUL": 0x02,
    "GT": 0x11,
    "SLT": 0x12,
    "EQ": 0x14,
    "SHL": 0x1B,
    "SHR": 0x1C,
    "CALLER": 0x33,
    "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36,
    "CODECOPY": 0x39,
    "POP": 0x50,
    "MLOAD": 0x51,
    "MSTORE": 0x52,
    "SLOAD": 0x54,
    "SSTORE": 0x55,
    "JUMPI": 0x57,
    "GAS": 0x5A,
    "JUMPDEST": 0x5B,
    "DUP1": 0x80,
    "CREATE": 0xF0,
    "CALL": 0xF1,
    "RETURN": 0xF3,
    "STATICCALL": 0xFA,
}
"""All that callbacks and a constructor's reads need."""

IF_CALLED_BACK = "0x43 CALLDATASIZE GT {pay} JUMPI STOP JUMPDEST"
PAY = """
{token} 0xe0 SHL 0 MSTORE
0x20 0 4 0 CALLER GAS STATICCALL POP
{transfer} 0xe0 SHL 0x20 MSTORE
CALLER 0x24 MSTORE
{amount} CALLDATALOAD DUP1 0 SLT MUL 0x44 MSTORE
0x20 0x80 0x44 0x20 0 0 MLOAD GAS CALL POP
"""
"""token = msg.sender.token0(); token.transfer(msg.sender, amount > 0 ? amount : 0)"""

IF_DEPLOYING = "0 CALLDATALOAD 0xe0 SHR {deploy} EQ {create} JUMPI"
PARAMETERS = (
    "0 SLOAD 0 MSTORE 1 SLOAD 0x20 MSTORE 2 SLOAD 0x40 MSTORE 3 SLOAD 0x60 MSTORE 4 SLOAD 0x80 MSTORE 0xa0 0 RETURN"
)
CREATE = """
JUMPDEST
4 CALLDATALOAD 0 SSTORE 0x24 CALLDATALOAD 1 SSTORE 0x44 CALLDATALOAD 2 SSTORE 0x64 CALLDATALOAD 3 SSTORE
0x84 CALLDATALOAD 4 SSTORE
{size} {start} 0 CODECOPY {size} 0 0 CREATE 0 MSTORE 0x20 0 RETURN
"""


def trader() -> bytes:
    """Pays both amounts that a V3 or PancakeSwap V3 callback asks for; anything shorter than a callback is let pass."""
    guard = assemble(IF_CALLED_BACK, pay=8)
    return guard + b"".join(
        assemble(PAY, token=_number(token), amount=amount, transfer=_number("transfer(address,uint256)"))
        for token, amount in (("token0()", 4), ("token1()", 0x24))
    )


def pancake_deployer(pool: bytes) -> bytes:
    """`deploy` keeps its five arguments and creates a pool; any other call, which is `parameters`, returns them."""
    deploy = _number("deploy(address,address,address,uint24,int24)")
    parameters = assemble(PARAMETERS)
    create = len(assemble(IF_DEPLOYING, deploy=deploy, create=0)) + len(parameters)
    head = assemble(IF_DEPLOYING, deploy=deploy, create=create) + parameters
    start = len(head) + len(assemble(CREATE, size=len(pool), start=0))
    return head + assemble(CREATE, size=len(pool), start=start) + pool


def assemble(source: str, **numbers: int) -> bytes:
    """Words are operations and numbers to push."""
    code = bytearray()
    for word in source.format_map(numbers).split():
        if word in OPERATIONS:
            code.append(OPERATIONS[word])
        else:
            number = int(word, 0)
            size = max(1, (number.bit_length() + 7) // 8)
            code += bytes((0x5F + size,)) + number.to_bytes(size, "big")
    return bytes(code)


def _number(signature: str) -> int:
    return int.from_bytes(selector(signature), "big")
