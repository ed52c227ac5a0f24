// A quote: what a swap would give, asked of the worker.

import { html, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import { ask } from "./api.js";
import { amount, symbol, units } from "./text.js";

export function QuoteBox({ pool, at }) {
  const [sold, setSold] = useState(0);
  const [text, setText] = useState("1");
  const [answer, setAnswer] = useState(null);
  const tokens = [pool.token0, pool.token1];
  const decimals = tokens[sold].decimals ?? 0;

  const submit = async (event) => {
    event.preventDefault();
    const asked = units(text, decimals);
    if (asked === null) {
      setAnswer({ refusal: `${text} is no amount with at most ${decimals} decimals` });
      return;
    }
    const query = new URLSearchParams({ token_in: tokens[sold].address, amount_in: asked, ...(at === null ? {} : { at }) });
    try {
      setAnswer({ quote: await ask(`/pools/${pool.id}/quote?${query}`) });
    } catch (error) {
      setAnswer({ refusal: error.message });
    }
  };

  return html`
    <section aria-label="Quote">
      <h3>Quote</h3>
      <form class="filters" onSubmit=${submit}>
        <label>Sell <input name="amount" inputmode="decimal" value=${text} onInput=${(event) => setText(event.target.value)} /></label>
        <label>of <select name="token" onChange=${(event) => setSold(Number(event.target.value))}>
          ${tokens.map((token, index) => html`<option value=${index}>${symbol(token)}</option>`)}
        </select></label>
        <button type="submit">Quote</button>
      </form>
      ${answer?.refusal ? html`<p class="reason" id="quote">${answer.refusal}</p>` : null}
      ${answer?.quote ? html`<${QuoteAnswer} quote=${answer.quote} bought=${tokens[1 - sold]} />` : null}
    </section>`;
}

function QuoteAnswer({ quote, bought }) {
  return html`
    <dl id="quote">
      <dt>gives</dt><dd data-value=${quote.amount_out}>${amount(quote.amount_out, bought.decimals)} ${symbol(bought)}</dd>
      <dt>price after</dt><dd>${quote.price_after ?? "–"}</dd>
      <dt>price impact</dt><dd>${quote.price_impact}</dd>
      <dt>ticks crossed</dt><dd>${quote.ticks_crossed}</dd>
      <dt>as of block</dt><dd>${quote.block?.number}</dd>
    </dl>`;
}
