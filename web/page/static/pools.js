// The table of all pools, live from the stream.

import { html, useEffect, useRef, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import { TabulatorFull as Tabulator } from "./vendor/tabulator-tables-6.5.3/tabulator_esm.min.js";
import { fee, pair, shortened } from "./text.js";

const COLUMNS = [
  { title: "Pool", field: "pair", minWidth: 150, formatter: "plaintext" },
  { title: "DEX", field: "protocol", width: 110, formatter: "plaintext" },
  { title: "Fee", field: "fee", width: 95, sorter: "number", sorterParams: {}, formatter: "plaintext" },
  { title: "Price", field: "price", hozAlign: "right", sorter: byNumber, formatter: "plaintext", tooltip: (_, cell) => cell.getRow().getData().exact },
  { title: "Last change", field: "changed", hozAlign: "right", width: 130, sorter: "number", formatter: "plaintext" },
  { title: "Status", field: "status", width: 110, formatter: status },
  { title: "Id", field: "id", minWidth: 120, formatter: "plaintext" },
];

function byNumber(left, right, leftRow, rightRow) {
  return Number(leftRow.getData().exact || 0) - Number(rightRow.getData().exact || 0);
}

function status(cell) {
  const element = cell.getElement();
  element.dataset.status = cell.getValue();
  return cell.getValue();
}

export function row(pool) {
  const price = pool.price?.token1_per_token0 ?? null;
  return {
    id: pool.id,
    pair: pair(pool),
    protocol: pool.protocol,
    fee: fee(pool),
    price: shortened(price),
    exact: price ?? "",
    changed: pool.last_event_block ?? "",
    status: pool.status,
    text: [pool.id, pair(pool), pool.token0.address, pool.token1.address, pool.protocol].join(" ").toLowerCase(),
  };
}

export function PoolsView({ mirror, open }) {
  const place = useRef(null);
  const table = useRef(null);
  const [search, setSearch] = useState("");
  const [protocol, setProtocol] = useState("");
  const [waiting, setWaiting] = useState(false);

  useEffect(() => {
    const made = new Tabulator(place.current, {
      index: "id",
      columns: COLUMNS,
      layout: "fitColumns",
      height: "calc(100vh - 13rem)",
      placeholder: "No pool matches.",
      initialSort: [{ column: "changed", dir: "desc" }],
    });
    const showAll = () => made.replaceData([...mirror.pools.values()].map(row));
    made.on("tableBuilt", () => {
      table.current = made;
      showAll(); // a snapshot may have come while the table was built
    });
    made.on("rowClick", (_, clicked) => open(clicked.getData().id));
    const stop = mirror.listen((change) => {
      if (!table.current) return;
      if (change.kind === "snapshot") showAll();
      else {
        const changed = change.ids.filter((id) => mirror.pools.has(id));
        if (changed.length) made.updateOrAddData(changed.map((id) => row(mirror.pools.get(id))));
        for (const id of change.removed ?? []) if (made.getRow(id)) made.deleteRow(id);
      }
    });
    return () => {
      stop();
      table.current = null;
      made.destroy();
    };
  }, []);

  useEffect(() => {
    const text = search.trim().toLowerCase();
    table.current?.setFilter(
      (data) =>
        (!text || data.text.includes(text)) && (!protocol || data.protocol === protocol) && (!waiting || data.status !== "live"),
    );
  }, [search, protocol, waiting]);

  const protocols = [...new Set([...mirror.pools.values()].map((pool) => pool.protocol))].sort();
  return html`
    <section aria-label="Pools">
      <form class="filters" onSubmit=${(event) => event.preventDefault()}>
        <label>Search <input type="search" name="search" value=${search} placeholder="symbol or address"
          onInput=${(event) => setSearch(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && openFirst(table.current, open)} /></label>
        <label>DEX <select name="protocol" onChange=${(event) => setProtocol(event.target.value)}>
          <option value="">all</option>
          ${protocols.map((name) => html`<option value=${name}>${name}</option>`)}
        </select></label>
        <label><input type="checkbox" name="waiting" checked=${waiting} onChange=${(event) => setWaiting(event.target.checked)} /> waiting only</label>
      </form>
      <div ref=${place} id="pools"></div>
    </section>`;
}

function openFirst(table, open) {
  const first = table?.getRows("active")[0];
  if (first) open(first.getData().id);
}
