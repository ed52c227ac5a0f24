// Uniswap's JS SDKs (v3-sdk, v4-sdk) on the states of a task: JSON on stdin, JSON on stdout.
const { performance } = require('node:perf_hooks')
const { readFileSync } = require('node:fs')
const { Token, CurrencyAmount } = require('@uniswap/sdk-core')
const v3 = require('@uniswap/v3-sdk')
const v4 = require('@uniswap/v4-sdk')

const A = new Token(1, '0x0000000000000000000000000000000000000001', 18)
const B = new Token(1, '0x0000000000000000000000000000000000000002', 18)
const NO_HOOKS = '0x0000000000000000000000000000000000000000'

function poolOf(each) {
  const ticks = each.ticks.map(
    ([index, gross, net]) => new v3.Tick({ index, liquidityGross: gross, liquidityNet: net })
  )
  const provider = new v3.TickListDataProvider(ticks, each.tick_spacing)
  if (each.protocol === 'v4') {
    return new v4.Pool(
      A, B, each.fee, each.tick_spacing, NO_HOOKS, each.sqrt_price_x96, each.liquidity, each.tick, provider
    )
  }
  return new v3.Pool(A, B, each.fee, each.sqrt_price_x96, each.liquidity, each.tick, provider)
}

async function main() {
  const task = JSON.parse(readFileSync(0, 'utf8'))
  const pools = task.pools.map((each) => {
    try {
      return poolOf(each)
    } catch {
      return null
    }
  })
  const amounts = []
  const microseconds = []
  for (const order of task.orders) {
    const pool = pools[order.pool]
    if (pool === null) {
      amounts.push(null)
      continue
    }
    const input = CurrencyAmount.fromRawAmount(order.zero_for_one ? A : B, order.amount_in)
    const began = performance.now()
    try {
      const [output] = await pool.getOutputAmount(input)
      microseconds.push((performance.now() - began) * 1000)
      amounts.push(output.quotient.toString())
    } catch {
      amounts.push(null) // it steps beyond the last tick, where the contract stops at it
    }
  }
  process.stdout.write(JSON.stringify({ amounts, microseconds }))
}

main()
