// Values as people read them. Exact integers stay strings: JavaScript's numbers would round them.

const SIGNIFICANT = 8;

export function symbol(token) {
  return token.symbol || short(token.address);
}

export function short(hex) {
  return hex.length > 14 ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex;
}

export function pair(pool) {
  return `${symbol(pool.token0)} / ${symbol(pool.token1)}`;
}

export function fee(pool) {
  if (pool.fee === null || pool.fee === undefined) return pool.protocol === "v2" ? "V2" : "–";
  return pool.fee === 0x800000 ? "dynamic" : `${pool.fee / 10_000} %`;
}

// A decimal string, shortened to some significant digits; the whole of it belongs into the title.
export function shortened(decimal) {
  if (!decimal) return "–";
  const [whole, fraction = ""] = decimal.split(".");
  if (whole.length >= SIGNIFICANT || !fraction) return grouped(whole);
  if (whole !== "0") return `${grouped(whole)}.${fraction.slice(0, SIGNIFICANT - whole.length)}`;
  const zeros = fraction.match(/^0*/)[0].length;
  return `0.${fraction.slice(0, zeros + SIGNIFICANT)}`;
}

export function grouped(integer) {
  return String(integer).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

// An amount of smallest units as a decimal, exactly.
export function amount(units, decimals) {
  if (decimals === null || decimals === undefined) return units;
  const digits = units.padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return fraction ? `${whole}.${fraction}` : whole;
}

// Smallest units of a decimal that a person typed; null for what is none.
export function units(text, decimals) {
  const found = /^(\d+)(?:\.(\d*))?$/.exec(text.trim());
  if (!found || (found[2] ?? "").length > decimals) return null;
  return (found[1] + (found[2] ?? "").padEnd(decimals, "0")).replace(/^0+(?=\d)/, "");
}

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
