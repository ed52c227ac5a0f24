// What the page asks of the worker: JSON answers and the stream, with the bearer token where one is needed.

const TOKEN = "arena-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

export async function ask(path, signal) {
  const answer = await fetch(path, { headers: headers(), signal, cache: "no-store" });
  if (answer.ok) return answer.json();
  throw new Refused(answer.status, await sentence(answer));
}

async function sentence(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the worker answers ${answer.status}`;
  }
}

// Yields {event, id, data} of the server-sent events; ends when the connection does.
export async function* events(path, lastId, signal) {
  const more = lastId ? { "Last-Event-ID": lastId } : {};
  const answer = await fetch(path, { headers: headers(more), signal, cache: "no-store" });
  if (!answer.ok) throw new Refused(answer.status, await sentence(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split(/\r?\n\r?\n/);
    held = blocks.pop();
    for (const block of blocks) {
      const found = parse(block);
      if (found) yield found;
    }
  }
}

function parse(block) {
  const found = { event: "message", id: null, data: "" };
  for (const line of block.split(/\r?\n/)) {
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") found.data += (found.data ? "\n" : "") + value;
    else if (name === "event") found.event = value;
    else if (name === "id") found.id = value;
  }
  if (!found.data) return null;
  return { ...found, data: JSON.parse(found.data) };
}
