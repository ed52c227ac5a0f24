"""What the world's token sources answer, in the shapes that they have."""

A, B = (f"0x{digit * 40}" for digit in "ab")
COINS = [
    {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin", "platforms": {}},
    {
        "id": "chainlink",
        "symbol": "link",
        "name": "Chainlink",
        "platforms": {"ethereum": A, "base": B, "solana": "So1"},
    },
    {"id": "odd", "symbol": "odd", "name": "Odd", "platforms": {"": ""}},
    {"id": "odder", "symbol": "odder", "name": "Odder", "platforms": None},
]
PERPETUALS = [
    {
        "universe": [
            {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 56},
            {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10, "marginTableId": 52},
            {"name": "MATIC", "szDecimals": 1, "maxLeverage": 20, "isDelisted": True, "marginTableId": 20},
            {"name": "IDLE", "szDecimals": 1, "maxLeverage": 3, "marginTableId": 3},
            {"name": "KAS", "szDecimals": 0, "maxLeverage": 3, "marginTableId": 3},
        ],
        "marginTables": [[50, {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": 50}]}]],
        "collateralToken": 0,
    },
    [
        {"funding": "0.0000125", "openInterest": "30000.1", "dayNtlVlm": "2000000.5", "markPx": "60000.0"},
        {"funding": "0.0000125", "openInterest": "5.0", "dayNtlVlm": "0.0", "markPx": "0.01"},
        {"funding": "0.0", "openInterest": "7.0", "dayNtlVlm": "7.0", "markPx": "0.37", "midPx": None},
        {"funding": "0.0", "openInterest": "0.0", "dayNtlVlm": "0.0", "markPx": "1.0", "premium": None},
        {"funding": "0.0", "openInterest": "1.0", "dayNtlVlm": "1.0", "markPx": "0.1"},
    ],
]
RATES = {
    "code": 200,
    "funding_rates": [
        {"market_id": 0, "exchange": "lighter", "symbol": "ETH", "rate": 0.0001},
        {"market_id": 4, "exchange": "lighter", "symbol": "1000PEPE", "rate": -0.0001},
        {"market_id": 4, "exchange": "binance", "symbol": "1000PEPE", "rate": 0.0001},
        {"market_id": 9, "exchange": "hyperliquid", "symbol": "DOGE", "rate": 0.0001},
    ],
}
TOKEN_LIST = {
    "name": "A list",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "version": {"major": 1, "minor": 0, "patch": 0},
    "tokens": [
        {"chainId": 1, "address": A, "symbol": "LINK", "decimals": 18, "name": "L", "extensions": {"bridgeInfo": {}}},
        {"chainId": 10, "address": B, "symbol": "LINK", "decimals": 18, "name": "L"},
        {"chainId": 1, "address": "So11111", "symbol": "SOL", "decimals": 9, "name": "S"},
    ],
}
WORLD = {
    "/api/v3/coins/list": COINS,
    "/info": PERPETUALS,
    "/api/v1/funding-rates": RATES,
    "/list.json": TOKEN_LIST,
}
