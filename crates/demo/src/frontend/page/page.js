// Shows the latest readings and how the backend is. Asks every two seconds while the page is visible.

const EVERY = 2000; // milliseconds
const WINDOW = 4 * 60 * 1000; // milliseconds that a curve spans at most
const SHORTEST = 60 * 1000; // and at least
const GAP = 5000; // milliseconds without a reading that interrupt a curve
const ROWS = 12; // readings in the table
const CURVE = { width: 240, height: 64, margin: 6 }; // as in the template's viewBox

const readings = new Map(); // by number
const cards = new Map(); // by sensor
const element = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en", { useGrouping: true });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000), cache: "no-store" });
  const body = await answer.json();
  return { ok: answer.ok, body };
}

async function refresh() {
  const [health, page] = await Promise.allSettled([ask("health"), ask(pagePath())]);
  showHealth(health);
  if (page.status === "fulfilled" && page.value.ok) {
    keep(page.value.body.data);
    element("total").textContent = count.format(page.value.body.total);
  }
  showReadings();
  element("empty").hidden = readings.size > 0 || page.status === "rejected" || !page.value.ok;
}

// The whole window at first and after a pause; then only what is new.
function pagePath() {
  const newest = newestTime();
  const current = newest !== undefined && Date.now() - newest < 10 * EVERY;
  return `api/v1/datapoints?limit=${current ? 100 : 1000}`;
}

function newestTime() {
  let newest;
  for (const { time } of readings.values()) if (newest === undefined || time > newest) newest = time;
  return newest;
}

function keep(data) {
  for (const reading of data) readings.set(reading.seq, { ...reading, time: Date.parse(reading.measured_at) });
  const oldest = (newestTime() ?? 0) - WINDOW;
  for (const [seq, { time }] of readings) if (time < oldest) readings.delete(seq);
}

function showHealth({ status, value }) {
  const health = status === "fulfilled" ? value.body : {};
  const states = {
    ok: ["good", "Running", ""],
    starting: ["waiting", "Starting", "The backend is starting: it waits for its database or prepares it."],
    unavailable: ["bad", "Not available", health.database?.error ?? "The backend reports that it does not work."],
  };
  const [state, word, notice] = states[health.status] ??
    ["bad", "Not reachable", "The backend does not answer. What you see is what was known before."];
  element("status").dataset.state = state;
  setText(element("status"), word);
  setText(element("notice"), notice);
  element("notice").hidden = notice === "";
  if (health.version) setText(element("version"), health.version);
  if (health.schema_revision) setText(element("schema"), health.schema_revision);
}

// Only a change is written, or screen readers would speak every two seconds.
function setText(where, text) {
  if (where.textContent !== String(text)) where.textContent = text;
}

function showReadings() {
  const newestFirst = [...readings.values()].sort((a, b) => b.seq - a.seq);
  element("readings").replaceChildren(...newestFirst.slice(0, ROWS).map(row));
  const sensors = Map.groupBy
    ? Map.groupBy(newestFirst, sensorOf)
    : newestFirst.reduce((map, reading) => map.set(sensorOf(reading), [...(map.get(sensorOf(reading)) ?? []), reading]), new Map());
  for (const key of [...sensors.keys()].sort()) showSensor(key, sensors.get(key));
}

const sensorOf = ({ source, name }) => `${source}\n${name}`;

function figure(value) {
  return value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}

function row(reading) {
  const fragment = element("reading").content.cloneNode(true);
  const cells = fragment.querySelectorAll("td");
  const value = `${figure(reading.value)} ${reading.unit ?? ""}`;
  const texts = [clock.format(reading.time), reading.source, reading.name, value, reading.stored_by ?? "–", reading.seq];
  texts.forEach((text, index) => { cells[index].textContent = text; });
  return fragment;
}

function card(key) {
  if (!cards.has(key)) {
    const made = element("sensor").content.cloneNode(true).firstElementChild;
    made.dataset.hue = cards.size % 4;
    cards.set(key, made);
    element("sensors").append(made);
  }
  return cards.get(key);
}

function showSensor(key, newestFirst) {
  const points = [...newestFirst].sort((a, b) => a.time - b.time);
  const last = points.at(-1);
  const values = points.map(({ value }) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const age = Math.max(0, Math.round((Date.now() - last.time) / 1000));

  const shown = card(key);
  const put = (selector, text) => setText(shown.querySelector(selector), text);
  shown.toggleAttribute("data-stale", age > 15);
  put("h3", last.name);
  put(".figure", figure(last.value));
  put(".unit", last.unit ?? "");
  put(".extremes", `${figure(low)} to ${figure(high)}`);
  put(".age", age > 15 ? `${age} s ago` : last.source);
  shown.querySelector("svg").setAttribute("aria-label", `${last.name}, last minutes, from ${figure(low)} to ${figure(high)}`);
  draw(shown, points, low, high);
}

function draw(shown, points, low, high) {
  const { width, height, margin } = CURVE;
  const end = points.at(-1).time;
  const time = Math.max(SHORTEST, end - points[0].time);
  // A curve that hardly moves is drawn as one that hardly moves.
  const span = Math.max(high - low, Math.abs(high) * 0.01, 1e-9);
  const middle = (high + low) / 2;
  const x = ({ time: at }) => (width - margin) - ((end - at) / time) * (width - margin);
  const y = ({ value }) => height / 2 - ((value - middle) / span) * (height - 2 * margin);
  const place = (point) => `${x(point).toFixed(1)} ${y(point).toFixed(1)}`;

  const pieces = [];
  points.forEach((point, index) => {
    const interrupted = index === 0 || point.time - points[index - 1].time > GAP;
    if (interrupted) pieces.push([]);
    pieces.at(-1).push(point);
  });
  const line = pieces.map((piece) => `M${piece.map(place).join("L")}`);
  const area = pieces.map((piece, index) =>
    `${line[index]}L${x(piece.at(-1)).toFixed(1)} ${height}L${x(piece[0]).toFixed(1)} ${height}Z`);
  shown.querySelector(".line").setAttribute("d", line.join(""));
  shown.querySelector(".area").setAttribute("d", area.join(""));
  shown.querySelector(".point").setAttribute("d", `M${place(points.at(-1))}h.01`);
}

async function forever() {
  for (;;) {
    if (!document.hidden) await refresh().catch((error) => console.error(error));
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh().catch((error) => console.error(error)); });
forever();
