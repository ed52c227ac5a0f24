// The system: partitions, waiting pools by reason, recent blocks with their forks, what happened.

import { html, useEffect, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import { ask } from "./api.js";
import { ago, short } from "./text.js";

const POLL_MS = 3000;
const DRAWN = 24;
const STEP = 46;

export function SystemView({ mirror }) {
  const [status, setStatus] = useState(null);
  const [refusal, setRefusal] = useState(null);
  useEffect(() => {
    const refresh = () => ask("/status/").then(setStatus, (error) => setRefusal(error.message));
    refresh();
    const timer = setInterval(refresh, POLL_MS);
    return () => clearInterval(timer);
  }, []);
  return html`
    <section aria-label="System">
      <h2>Recent blocks</h2>
      <${Chain} blocks=${mirror.blocks} finalized=${mirror.envelope?.finalized} />
      ${status ? html`<${Partitions} status=${status} />` : html`<p>${refusal ?? "asking…"}</p>`}
      <h2>What happened</h2>
      <ol class="story" id="notes">
        ${mirror.notes.map((note) => html`<li data-kind=${note.kind}><time>${note.at.toLocaleTimeString()}</time> ${note.text}</li>`)}
        ${mirror.notes.length ? null : html`<li>Nothing but blocks since this page was opened.</li>`}
      </ol>
    </section>`;
}

// A column per block number; blocks that a reorg replaced are drawn below the line.
function Chain({ blocks, finalized }) {
  const shown = blocks.slice(-DRAWN);
  if (!shown.length) return html`<p>No block yet.</p>`;
  const first = Math.min(...shown.map((block) => block.number));
  const last = Math.max(...shown.map((block) => block.number));
  const rows = new Map();
  const place = new Map();
  for (const block of shown) {
    const row = block.dropped ? (rows.get(block.number) ?? 0) + 1 : 0;
    if (block.dropped) rows.set(block.number, row);
    place.set(block.hash, { x: (block.number - first) * STEP + 20, y: row * 34 + 22 });
  }
  const height = (Math.max(0, ...rows.values()) + 1) * 34 + 24;
  return html`
    <div class="scroll"><svg id="chain" role="img" aria-label=${`blocks ${first} to ${last}`} width=${(last - first + 1) * STEP + 10} height=${height}>
      ${shown.filter((block) => place.has(block.parent)).map((block) => html`<line x1=${place.get(block.parent).x} y1=${place.get(block.parent).y} x2=${place.get(block.hash).x} y2=${place.get(block.hash).y} />`)}
      ${shown.map((block) => html`<g class=${block.dropped ? "dropped" : block.number <= finalized ? "finalized" : "canonical"}>
        <circle cx=${place.get(block.hash).x} cy=${place.get(block.hash).y} r="9"><title>${`${block.number} ${block.hash}, ${block.changed} pools changed`}</title></circle>
        ${block.dropped ? null : html`<text x=${place.get(block.hash).x} y=${height - 4} text-anchor="middle">${block.number % 10_000}</text>`}
      </g>`)}
    </svg></div>`;
}

function Partitions({ status }) {
  const reasons = Object.entries(status.reasons);
  return html`
    <h2>Pools</h2>
    <p id="counts">${status.pools.live} live, ${status.pools.waiting} waiting${reasons.length ? ": " : ""}
      ${reasons.map(([kind, count]) => html`<span class="chip">${count} ${kind}</span>`)}</p>
    <h2>Partitions</h2>
    <div class="scroll"><table id="partitions">
      <thead><tr><th>partition</th><th>worker</th><th>ready</th><th>head</th><th>behind</th><th>age</th><th>live</th><th>waiting</th></tr></thead>
      <tbody>${status.partitions.map((each) => html`<tr>
        <td>${each.partition}</td><td>${each.worker}</td><td>${each.ready ? "yes" : "no"}</td>
        <td title=${each.head?.hash ?? ""}>${each.head ? `${each.head.number} ${short(each.head.hash)}` : "–"}</td>
        <td>${each.lag_blocks ?? "–"}</td><td>${ago(each.lag_seconds)}</td><td>${each.pools.live}</td><td>${each.pools.waiting}</td></tr>`)}</tbody>
    </table></div>`;
}
