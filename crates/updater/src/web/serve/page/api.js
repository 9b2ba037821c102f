// Calls of the API, with readable errors; times, sizes and durations as people read them.

export const BASE = "/api/v1/ota";

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let skew = 0; // milliseconds that the device's clock is ahead of ours

export const now = () => Date.now() + skew;

// Without an answer the status is 0: the device restarts, or the network is away.
export async function call(method, path = "", body = undefined) {
  const request = { method, headers: {}, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(BASE + path, { ...request, signal: AbortSignal.timeout(40000) });
  } catch {
    throw new Refused(0, "The device does not answer.");
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (!Number.isNaN(date)) skew = date - Date.now();
  const text = await answer.text().catch(() => "");
  let json = {};
  try { json = text === "" ? {} : JSON.parse(text); } catch { /* a proxy's own page */ }
  if (answer.ok) return json;
  throw answer.status === 502 || answer.status === 504
    ? new Refused(0, "The device does not answer.")
    : new Refused(answer.status, sentence(json.detail ?? `The device answers with status ${answer.status}.`));
}

// Messages begin in lower case, for logs; here they are sentences.
export function sentence(text) {
  const trimmed = text.trim();
  return trimmed === "" ? "" : trimmed[0].toUpperCase() + trimmed.slice(1);
}

// Of what a program said, its last line tells most; the rest is for those who want to see it.
export function brief(text) {
  const lines = text.trim().split("\n");
  return sentence(lines.length > 6 ? lines.at(-1) : text);
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export function time(stamp, how = "day") {
  const made = document.createElement("time");
  const date = new Date(stamp);
  made.dateTime = stamp;
  made.title = full.format(date);
  made.textContent = (how === "clock" ? clock : day).format(date);
  return made;
}

export const when = (stamp) => day.format(new Date(stamp));

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}
