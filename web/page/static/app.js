// The page: which view is shown, by the part of the address after #, and whether what is shown is current.

import { html, render, useEffect, useState } from "./vendor/htm-3.1.1/standalone.module.js";
import { setToken } from "./api.js";
import { Mirror } from "./mirror.js";
import { PoolView } from "./pool.js";
import { PoolsView } from "./pools.js";
import { SystemView } from "./system.js";
import { ago } from "./text.js";

const mirror = new Mirror();
const TICK_MS = 1000;
const FRAME_MS = 200;

function view() {
  const [name, id] = location.hash.slice(1).split("/").filter(Boolean);
  return name === "pool" && id ? { name, id } : { name: name === "system" ? "system" : "pools" };
}

function useMirror() {
  const [, redraw] = useState(0);
  useEffect(() => {
    let planned = null;
    const soon = () => {
      planned ??= setTimeout(() => {
        planned = null;
        redraw((count) => count + 1);
      }, FRAME_MS);
    };
    const stop = mirror.listen(soon);
    const timer = setInterval(soon, TICK_MS);
    return () => {
      stop();
      clearInterval(timer);
      clearTimeout(planned);
    };
  }, []);
}

function App() {
  const [shown, setShown] = useState(view());
  useMirror();
  useEffect(() => {
    const changed = () => setShown(view());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => {
    document.body.classList.toggle("silent", mirror.isSilent);
  });
  if (mirror.refusal?.status === 401 && !mirror.pools.size) return html`<${Login} />`;
  return html`
    <${Header} shown=${shown.name} />
    <main>
      ${shown.name === "system" ? html`<${SystemView} mirror=${mirror} />` : null}
      ${shown.name === "pool" ? html`<${PoolView} key=${shown.id} mirror=${mirror} id=${shown.id} close=${() => (location.hash = "#/")} />` : null}
      ${shown.name === "pools" ? html`<${PoolsView} mirror=${mirror} open=${(id) => (location.hash = `#/pool/${id}`)} />` : null}
    </main>`;
}

function Header({ shown }) {
  const { envelope, counts, isSilent, refusal } = mirror;
  const block = envelope?.block;
  const age = block ? Math.max(0, Date.now() / 1000 - block.timestamp) : null;
  return html`
    <header>
      <h1>Pool State Arena</h1>
      <nav aria-label="Views">
        <a href="#/" aria-current=${shown === "pools" ? "page" : null}>Pools</a>
        <a href="#/system" aria-current=${shown === "system" ? "page" : null}>System</a>
      </nav>
      <p role="status" id="status">
        ${envelope ? html`<b>${envelope.chain}</b> block <b id="block">${block?.number ?? "–"}</b>, ${ago(age)} old` : "connecting…"}
        ${counts ? html`, ${counts.live} live, ${counts.waiting} waiting` : null}
        ${isSilent && envelope ? html` <strong class="reason">the stream is silent${refusal ? `: ${refusal.message}` : ""}</strong>` : null}
      </p>
    </header>`;
}

function Login() {
  const submit = (event) => {
    event.preventDefault();
    setToken(new FormData(event.target).get("token"));
    location.reload();
  };
  return html`
    <main><form class="filters" onSubmit=${submit}>
      <label>This worker asks for its token (ARENA_WEB_TOKEN) <input type="password" name="token" autocomplete="current-password" /></label>
      <button type="submit">Open</button>
    </form></main>`;
}

render(html`<${App} />`, document.getElementById("app"));
mirror.follow();
