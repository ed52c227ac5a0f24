// One pool: its state now or at a block in memory, depth, quote, ticks, and where the state comes from.

import { html, useEffect, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import { ask } from "./api.js";
import { DepthChart } from "./depth.js";
import { QuoteBox } from "./quote.js";
import { fee, grouped, pair, short } from "./text.js";

const SHOWN_TICKS = 400;

function useAnswer(path, keys) {
  const [answer, setAnswer] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    ask(path, stop.signal).then(
      (found) => setAnswer({ found }),
      (error) => stop.signal.aborted || setAnswer({ refusal: error.message }),
    );
    return () => stop.abort();
  }, keys);
  return answer;
}

export function PoolView({ mirror, id, close }) {
  const [at, setAt] = useState(null);
  const live = mirror.pools.get(id);
  const query = at === null ? "" : `?at=${at}`;
  const then = useAnswer(`/pools/${id}/${query}`, [id, at, live?.last_event_block, live?.status]);
  const pool = then.found ?? live;
  useEffect(() => {
    const leave = (event) => event.key === "Escape" && close();
    window.addEventListener("keydown", leave);
    return () => window.removeEventListener("keydown", leave);
  }, []);
  if (!pool) return html`<section><button onClick=${close}>All pools</button><p>${then.refusal ?? "asking…"}</p></section>`;
  return html`
    <section aria-label="Pool" class="pool">
      <button type="button" onClick=${close}>← All pools</button>
      <h2>${pair(pool)} <small>${pool.protocol} ${fee(pool)}</small></h2>
      <p class="id">${pool.id}</p>
      ${then.refusal ? html`<p class="reason">${then.refusal}</p>` : null}
      ${pool.reason ? html`<p class="reason">${pool.reason.kind}: ${pool.reason.detail}</p>` : null}
      <${BlockSlider} mirror=${mirror} at=${at} setAt=${setAt} />
      <${State} pool=${pool} />
      <${DepthChart} pool=${pool} at=${at} />
      <${QuoteBox} pool=${pool} at=${at} />
      <${Story} id=${id} changed=${live?.last_event_block} />
      ${pool.protocol === "v2" ? null : html`<${Ticks} pool=${pool} query=${query} at=${at} changed=${live?.last_event_block} />`}
    </section>`;
}

function BlockSlider({ mirror, at, setAt }) {
  const blocks = mirror.blocks.filter((block) => !block.dropped);
  if (!blocks.length) return null;
  const first = blocks[0].number;
  const last = blocks[blocks.length - 1].number;
  return html`
    <label class="slider">As of block
      <input type="range" name="at" min=${first} max=${last} value=${at ?? last}
        onInput=${(event) => setAt(Number(event.target.value) >= last ? null : Number(event.target.value))} />
      <output>${at ?? `${last} (newest)`}</output>
    </label>`;
}

function State({ pool }) {
  const rows = [
    ["status", pool.status],
    ["price", pool.price?.token1_per_token0],
    ["other direction", pool.price?.token0_per_token1],
    ...Object.entries(pool.state ?? {}),
    ["last change", pool.last_event_block],
    ["verified at block", pool.verified_block],
    ["reference block", pool.reference_block?.number],
    ["token0", pool.token0.address],
    ["token1", pool.token1.address],
    ["hooks", pool.hooks],
  ];
  return html`
    <dl id="state">
      ${rows.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => html`<dt>${name}</dt><dd data-field=${name}>${String(value)}</dd>`)}
    </dl>`;
}

function Story({ id, changed }) {
  const { found, refusal } = useAnswer(`/pools/${id}/explain/`, [id, changed]);
  if (!found) return html`<p>${refusal ?? ""}</p>`;
  return html`
    <section aria-label="Where the state comes from">
      <h3>Where the state comes from</h3>
      <ol class="story">${sentences(found).map((each) => html`<li>${each}</li>`)}</ol>
    </section>`;
}

function sentences(story) {
  const told = [`Listed from block ${story.listed_from_block} on.`];
  if (story.reference_block) told.push(`Read from the chain at block ${story.reference_block.number} (${short(story.reference_block.hash)}).`);
  told.push(`${grouped(story.updates_applied)} updates applied since, ${grouped(story.updates_skipped)} skipped because the reference block has them.`);
  if (story.rewinds) told.push(`${story.rewinds} times rewound by reorgs.`);
  told.push(`${story.audits} times compared with the chain, ${story.divergences} differences.`);
  if (story.verified_block) told.push(`Equal to the chain at block ${story.verified_block.number}.`);
  if (story.last_divergence) told.push(`The last difference: ${story.last_divergence}`);
  if (story.last_refusal) told.push(`The last snapshot that was refused: ${story.last_refusal}`);
  if (story.blocks_in_memory?.length) told.push(`${story.blocks_in_memory.length} changes in memory, back to block ${story.blocks_in_memory[0].number}.`);
  if (story.reason) told.push(`It waits: ${story.reason.detail || story.reason.kind}.`);
  return told;
}

function Ticks({ pool, query, at, changed }) {
  const { found, refusal } = useAnswer(`/pools/${pool.id}/ticks/${query}`, [pool.id, at, changed]);
  if (!found?.ticks) return html`<p>${refusal ?? ""}</p>`;
  const tick = pool.state?.tick;
  const shown = nearest(found.ticks, tick);
  return html`
    <section aria-label="Ticks">
      <h3>Ticks <small>${found.ticks.length} initialised${shown.length < found.ticks.length ? `, the ${shown.length} nearest shown` : ""}</small></h3>
      <div class="scroll"><table id="ticks">
        <thead><tr><th>tick</th><th>liquidity_net</th><th>liquidity_gross</th></tr></thead>
        <tbody>${shown.map((each) => html`<tr data-below=${each.tick <= tick}><td>${each.tick}</td><td>${each.liquidity_net}</td><td>${each.liquidity_gross}</td></tr>`)}</tbody>
      </table></div>
    </section>`;
}

function nearest(ticks, tick) {
  if (ticks.length <= SHOWN_TICKS || tick === undefined) return ticks.slice(0, SHOWN_TICKS);
  let at = ticks.findIndex((each) => each.tick > tick);
  if (at < 0) at = ticks.length;
  const first = Math.max(0, Math.min(at - SHOWN_TICKS / 2, ticks.length - SHOWN_TICKS));
  return ticks.slice(first, first + SHOWN_TICKS);
}
