// The pools as the stream gives them, the recent blocks with their forks, and whether the stream still speaks.

import { events } from "./api.js";

const SILENT_MS = 10_000; // two heartbeats
const RETRY_MS = [250, 500, 1000, 2000, 4000];
const KEPT_BLOCKS = 64;
const KEPT_NOTES = 100;

export class Mirror {
  constructor() {
    this.pools = new Map();
    this.blocks = []; // oldest first: {number, hash, parent, timestamp, dropped, changed}
    this.notes = []; // newest first: reorgs and reconnections
    this.envelope = null;
    this.counts = null;
    this.lag = null;
    this.lastId = null;
    this.spokeAt = 0;
    this.refusal = null;
    this.listeners = new Set();
  }

  get isSilent() {
    return Date.now() - this.spokeAt > SILENT_MS;
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(change) {
    for (const listener of this.listeners) listener(change);
  }

  async follow() {
    for (let failures = 0; ; failures += 1) {
      try {
        for await (const each of events("/stream", this.lastId)) {
          failures = 0;
          this.refusal = null;
          this.take(each);
        }
        this.note("the worker closed the stream");
      } catch (error) {
        this.refusal = error;
        this.note(`the stream broke: ${error.message}`);
      }
      this.tell({ kind: "lost", ids: [] });
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
    }
  }

  take({ event, id, data }) {
    this.spokeAt = Date.now();
    if (id) this.lastId = id;
    this.envelope = { chain: data.chain, chain_id: data.chain_id, block: data.block, age_s: data.age_s, finalized: data.finalized };
    const pools = Array.isArray(data.pools) ? data.pools : [];
    if (event === "snapshot") this.replaceAll(pools, data);
    else if (event === "block") this.addBlock(pools, data);
    else if (event === "reorg") this.rewind(pools, data);
    else if (event === "status") this.setStatus(data);
    else this.note(data.error ?? event);
  }

  replaceAll(pools, data) {
    this.pools = new Map(pools.map((pool) => [pool.id, pool]));
    if (data.block) this.remember(data.block, 0);
    this.tell({ kind: "snapshot", ids: [...this.pools.keys()] });
  }

  addBlock(pools, data) {
    for (const pool of pools) this.pools.set(pool.id, pool);
    for (const id of data.removed ?? []) this.pools.delete(id);
    if (data.block) this.remember(data.block, pools.length);
    this.tell({ kind: "block", ids: pools.map((pool) => pool.id), removed: data.removed ?? [] });
  }

  rewind(pools, data) {
    const dropped = new Set(data.dropped.map((block) => block.hash));
    for (const block of this.blocks) if (dropped.has(block.hash)) block.dropped = true;
    for (const pool of pools) this.pools.set(pool.id, pool);
    for (const id of data.removed ?? []) this.pools.delete(id);
    this.note(`reorg: ${data.dropped.length} blocks after ${data.ancestor.number} were replaced`, "reorg");
    this.tell({ kind: "reorg", ids: pools.map((pool) => pool.id), removed: data.removed ?? [] });
  }

  setStatus(data) {
    this.counts = data.pools;
    this.lag = data.lag_blocks;
    this.tell({ kind: "status", ids: [] });
  }

  remember(block, changed) {
    const known = this.blocks.find((each) => each.hash === block.hash);
    if (known) known.dropped = false;
    else this.blocks.push({ number: block.number, hash: block.hash, parent: block.parent_hash, timestamp: block.timestamp, dropped: false, changed });
    if (this.blocks.length > KEPT_BLOCKS) this.blocks.shift();
  }

  note(text, kind = "connection") {
    if (this.notes[0]?.text === text && kind === "connection") return;
    this.notes.unshift({ text, kind, at: new Date() });
    this.notes.length = Math.min(this.notes.length, KEPT_NOTES);
  }
}
