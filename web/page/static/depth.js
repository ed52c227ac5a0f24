// The depth chart of a pool: the price that a trade of a size moves it to.

import { html, useEffect, useRef, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import uPlot from "./vendor/uplot-1.6.32/uPlot.esm.js";
import { ask } from "./api.js";
import { amount, shortened, symbol } from "./text.js";

const HEIGHT = 300;
const POINTS = 200;

// uPlot draws doubles; the exact values stand in the table below the chart.
function series(depth, pool, isInverted) {
  const decimals = pool.token0.decimals ?? 0;
  const flip = (price) => (isInverted ? 1 / Number(price) : Number(price));
  const points = [];
  for (const each of depth.token0_in) points.push([flip(each.price_after), Number(amount(each.amount_in, decimals)), null]);
  for (const each of depth.token1_in) points.push([flip(each.price_after), null, Number(amount(each.amount_out, decimals))]);
  points.sort((left, right) => left[0] - right[0]);
  return [points.map((each) => each[0]), points.map((each) => each[1]), points.map((each) => each[2])];
}

// Whether prices are so far apart that only a logarithmic axis shows them all.
function isWide(prices) {
  return prices[prices.length - 1] > 20 * prices[0];
}

function current(price) {
  return {
    hooks: {
      draw: (plot) => {
        const x = plot.valToPos(price, "x", true);
        if (!(x >= plot.bbox.left && x <= plot.bbox.left + plot.bbox.width)) return;
        plot.ctx.save();
        plot.ctx.strokeStyle = "#888";
        plot.ctx.setLineDash([4, 4]);
        plot.ctx.beginPath();
        plot.ctx.moveTo(x, plot.bbox.top);
        plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
        plot.ctx.stroke();
        plot.ctx.restore();
      },
    },
  };
}

export function DepthChart({ pool, at }) {
  const place = useRef(null);
  const [depth, setDepth] = useState(null);
  const [refusal, setRefusal] = useState(null);
  const [isInverted, setInverted] = useState(false);

  useEffect(() => {
    const stop = new AbortController();
    const query = at === null ? "" : `&at=${at}`;
    ask(`/pools/${pool.id}/depth/?points=${POINTS}${query}`, stop.signal).then(
      (found) => {
        setDepth(found);
        setRefusal(null);
      },
      (error) => stop.signal.aborted || setRefusal(error.message),
    );
    return () => stop.abort();
  }, [pool.id, at, pool.last_event_block, pool.status]);

  useEffect(() => {
    if (!depth || !depth.price) return undefined;
    const price = isInverted ? 1 / Number(depth.price) : Number(depth.price);
    const color = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
    const axis = { stroke: color, grid: { stroke: "#8883" } };
    const drawn = series(depth, pool, isInverted);
    const options = {
      width: place.current.clientWidth,
      height: HEIGHT,
      scales: { x: { time: false, distr: isWide(drawn[0]) ? 3 : 1 } },
      cursor: { drag: { x: true, y: false } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map((each) => (each === null ? "" : shortened(String(each)))) }, { ...axis, size: 80 }],
      series: [
        { label: "price", value: (_, value) => (value === null ? "–" : String(value)) },
        { label: `${symbol(pool.token0)} sold`, stroke: "#c2382e", fill: "#c2382e33", spanGaps: true },
        { label: `${symbol(pool.token0)} bought`, stroke: "#16794a", fill: "#16794a33", spanGaps: true },
      ],
      plugins: [current(price)],
    };
    const plot = new uPlot(options, drawn, place.current);
    const resize = () => plot.setSize({ width: place.current.clientWidth, height: HEIGHT });
    window.addEventListener("resize", resize);
    return () => {
      window.removeEventListener("resize", resize);
      plot.destroy();
    };
  }, [depth, isInverted]);

  const quote = isInverted ? `${symbol(pool.token0)} per ${symbol(pool.token1)}` : `${symbol(pool.token1)} per ${symbol(pool.token0)}`;
  return html`
    <section aria-label="Depth">
      <h3>Depth <small>price in ${quote}; drag to zoom, double-click for all</small>
        <button type="button" onClick=${() => setInverted(!isInverted)}>other direction</button></h3>
      ${refusal ? html`<p class="reason">${refusal}</p>` : null}
      <div ref=${place} class="chart" role="img" aria-label=${`depth of the pool, price ${depth?.price ?? "unknown"}`}></div>
    </section>`;
}
