// The page: who is logged in, what runs and what could, the list of updates, dialogs, the audit log. Uploading and the
// course of an update have files of their own.

import { BASE, brief, call, sentence, size, time, when } from "./api.js";
import { Course, isActive } from "./course.js";
import { element, link, render } from "./notes.js";
import { Upload } from "./upload.js";

const PAGE = 20;
const byId = (id) => document.getElementById(id);
const STATUS = {
  pending: ["quiet", "Waiting"],
  downloading: ["info", "Downloading"],
  verifying: ["info", "Verifying"],
  applying: ["info", "Installing"],
  completed: ["good", "Installed"],
  rolled_back: ["quiet", "Rolled back"],
  failed: ["bad", "Failed"],
};
const PHASE = {
  undoing: ["wait", "Restoring the previous version"],
  rolling_back: ["info", "Rolling back"],
  returning: ["wait", "Restoring the newer version"],
  stuck: ["bad", "Stuck"],
};

let updates = [];
let state = null; // the device's last state
let checked = null; // the last answer about newer versions
let events = null;
let canChange = false;
let looksAtGitHub = false;

function announce(text) {
  byId("announce").textContent = text;
}

function showError(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = text === "";
}

const course = new Course({ announce });
const upload = new Upload({
  announce,
  loggedOut: () => showLogin("Your session has ended. Log in, then start the upload again: it continues where it stopped."),
  begun: (address) => {
    announce("Uploaded. The device checks it.");
    course.follow(address.split("/").at(-1));
    refresh();
  },
});

// --- who is logged in

async function start() {
  try {
    const session = await call("GET", "/session");
    const name = session.product;
    byId("product").textContent = name;
    document.title = `${name} updates`;
    online();
    canChange = session.can_change;
    looksAtGitHub = session.github;
    if (session.user === null) return showLogin("");
    showApp();
  } catch (error) {
    offline(error);
    setTimeout(start, 2000);
  }
}

async function showLogin(message) {
  events?.close();
  events = null;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  byId("app").hidden = true;
  byId("logout").hidden = true;
  byId("login").hidden = false;
  showError("login-error", message);
  byId("password").focus();
  const { current_version: version } = await call("GET", "/check").catch(() => ({}));
  byId("login-version").textContent = version ?? "–";
}

function showApp() {
  byId("login").hidden = true;
  byId("app").hidden = false;
  byId("logout").hidden = false;
  for (const id of ["new", "file"]) byId(id).disabled = !canChange;
  listen();
  refresh();
  check();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [button, password] = [event.submitter, byId("password")];
  button.disabled = true;
  showError("login-error", "");
  try {
    await call("POST", "/session", { password: password.value });
    password.value = "";
    canChange = true;
    showApp();
    byId("main").focus();
  } catch (error) {
    showError("login-error", error.message);
    password.select();
  } finally {
    button.disabled = false;
  }
});

byId("logout").addEventListener("click", async () => {
  await call("DELETE", "/session").catch(() => {});
  showLogin("");
});

// What every call may meet: the session has ended, or the device is away. The text for everything else.
function failed(error) {
  if (error.status === 401) showLogin("Your session has ended.");
  else if (error.status === 0) offline(error);
  return error.message;
}

// --- whether the device answers

function online() {
  byId("connection").dataset.kind = "good";
  if (byId("connection").textContent !== "Connected") byId("connection").textContent = "Connected";
  showError("banner", "");
}

function offline() {
  byId("connection").dataset.kind = "wait";
  byId("connection").textContent = "Connecting";
  showError("banner", isActive(state?.update)
    ? "The device does not answer. That is normal while its services restart; this page reconnects by itself."
    : "The device does not answer. This page reconnects by itself.");
}

function listen() {
  events?.close();
  events = new EventSource(`${BASE}/events`);
  events.addEventListener("state", (event) => {
    online();
    const before = state;
    state = JSON.parse(event.data);
    course.state(state);
    drawVersion();
    if (before && (before.total !== state.total || before.update?.phase !== state.update?.phase)) refresh();
    if (before && before.current_version !== state.current_version) check();
  });
  events.addEventListener("progress", (event) => course.work(JSON.parse(event.data)));
  events.addEventListener("error", async () => {
    const mine = events;
    // The browser tries again by itself unless it was refused.
    const session = await call("GET", "/session").catch((error) => offline(error));
    if (mine !== events) return;
    if (session && session.user === null) return showLogin("Your session has ended.");
    if (mine?.readyState === EventSource.CLOSED) setTimeout(() => mine === events && listen(), 2000);
  });
}

// --- what runs, and what could

async function check() {
  byId("check").disabled = true;
  byId("github").ariaBusy = "true";
  if (!checked) byId("github").replaceChildren(element("p", { className: "muted" }, "Asking GitHub…"));
  byId("version-text").textContent = "Looking for newer versions…";
  try {
    checked = await call("GET", "/check");
    online();
    drawVersion();
    drawGitHub();
  } catch (error) {
    byId("version-text").textContent = failed(error);
    byId("github").replaceChildren(element("p", { className: "warning" }, error.message));
  } finally {
    byId("check").disabled = false;
    byId("github").ariaBusy = "false";
  }
}

byId("check").addEventListener("click", () => { check(); refresh(); });

function drawVersion() {
  const current = state?.current_version ?? checked?.current_version;
  byId("version").textContent = current ?? "Nothing yet";
  if (!checked) return;
  const badge = byId("version-badge");
  badge.hidden = false;
  if (checked.update_available) {
    badge.dataset.kind = "info";
    badge.textContent = "update available";
    byId("version-text").textContent = `${checked.latest_version} is available.`;
  } else {
    badge.dataset.kind = "good";
    badge.textContent = "up to date";
    badge.hidden = !current;
    byId("version-text").textContent = looksAtGitHub && checked.github_error
      ? "No newer version is known on this device. GitHub could not be reached."
      : current ? "No newer version is known." : "Nothing is installed. Upload a bundle to begin.";
  }
}

function drawGitHub() {
  const { github_latest_version: latest, github_release_url: page, github_download_url: bundle, github_error: error } = checked;
  const parts = [];
  if (latest) {
    const same = latest === checked.current_version;
    const newer = !same && checked.latest_version === latest && checked.update_available;
    const [kind, word] = same ? ["good", "installed"] : newer ? ["info", "newer"] : ["quiet", "not newer"];
    parts.push(element("p", { className: "figure small" }, latest, " ", badge(kind, word)));
    if (page) parts.push(element("p", {}, link(page, "Release page")));
    if (newer && !bundle) parts.push(element("p", { className: "warning" }, "This release has no bundle for this device."));
    if (newer && bundle && canChange) {
      const button = element("button", { className: "button primary", type: "button", disabled: isActive(state?.update) }, "Download Bundle");
      button.addEventListener("click", () => download(button, latest, bundle));
      parts.push(element("div", { className: "actions" }, button));
    }
  } else if (!error) {
    parts.push(element("p", { className: "muted" }, "No releases published yet"));
  }
  if (!looksAtGitHub) {
    parts.push(element("p", { className: "muted" }, "No repository is configured on this device. Upload a bundle instead."));
  } else if (error) {
    parts.push(element("p", { className: "warning" }, sentence(error)));
  }
  byId("github").replaceChildren(...parts);
}

function badge(kind, text) {
  const made = element("span", { className: "badge" }, text);
  made.dataset.kind = kind;
  return made;
}

async function download(button, version, address) {
  button.disabled = true;
  try {
    const find = async () => (await call("GET", "?page_size=100")).data.find((known) =>
      known.version === version && ["pending", "downloading", "failed", "rolled_back"].includes(known.status));
    let update = await find();
    if (!update) {
      await call("POST", "", { version });
      update = await find();
    }
    await call("POST", `/${update.public_id}/apply`, { download_url: address });
    course.follow(update.public_id);
    announce(`Downloading ${version}`);
    refresh();
  } catch (error) {
    byId("github").append(element("p", { className: "error", role: "alert" }, failed(error)));
    button.disabled = false;
  }
}

// --- the list

let requests = 0;

async function refresh(count = Math.max(PAGE, updates.length)) {
  requests += 1;
  const mine = requests;
  try {
    const answer = await call("GET", `?page=1&page_size=${Math.min(count, 100)}`);
    if (mine !== requests) return;
    updates = answer.data;
    showError("list-error", "");
    drawList(answer.total);
    if (byId("audit").open) loadAudit();
  } catch (error) {
    if (mine === requests && error.status !== 0 && error.status !== 401) showError("list-error", error.message);
    failed(error);
  }
  byId("list").ariaBusy = "false";
}

byId("more").addEventListener("click", () => refresh(updates.length + PAGE));

function drawList(total) {
  const open = new Set([...document.querySelectorAll(".update:has(details[open])")].map((item) => item.dataset.id));
  const focused = document.activeElement?.closest?.(".update")?.dataset.id;
  const label = document.activeElement?.textContent;
  byId("list-count").textContent = total > 0 ? `(${total})` : "";
  byId("list-empty").hidden = total > 0;
  byId("more").hidden = updates.length >= total || updates.length >= 100;
  byId("list").replaceChildren(...updates.map((update) => item(update, open.has(update.public_id))));
  if (!focused) return;
  // What was focused was replaced by its like.
  const again = document.querySelector(`.update[data-id="${CSS.escape(focused)}"]`);
  const same = [...(again?.querySelectorAll("button, summary") ?? [])].find((button) => button.textContent === label);
  (same ?? again?.querySelector("summary"))?.focus();
}

function item(update, open) {
  const made = byId("update").content.cloneNode(true).firstElementChild;
  made.dataset.id = update.public_id;
  const part = (selector) => made.querySelector(selector);
  part("h3").textContent = update.version;
  let [kind, word] = PHASE[update.phase] ?? STATUS[update.status];
  const runs = update.version === state?.current_version;
  if (update.phase === "completed" && !runs) [kind, word] = ["quiet", "Was installed"];
  if (update.phase === "pending" && !update.has_firmware_file) word = "Waiting for its bundle";
  part(".badge").dataset.kind = kind;
  part(".badge").textContent = word;
  part(".when").append(time(update.completed_on ?? update.started_on ?? update.created_on));
  part(".buttons").append(...buttons(update));
  if (update.error_message) {
    part(".why").textContent = brief(update.error_message);
    part(".why").hidden = false;
    part(".said").hidden = brief(update.error_message) === sentence(update.error_message);
    part(".said code").textContent = update.error_message;
  }
  part("details").open = open;
  part("summary").append(element("span", { className: "hidden" }, ` of ${update.version}`));
  part(".notes").append(update.changelog.trim() === ""
    ? element("p", { className: "muted" }, "There are no release notes.") : render(update.changelog));
  const facts = [
    ["Recorded", time(update.created_on)],
    ["Begun", update.started_on && time(update.started_on)],
    ["Ended", update.completed_on && time(update.completed_on)],
    ["Size", update.file_size_bytes === null ? null : size(update.file_size_bytes)],
    ["Requested by", update.user_public_id],
    ["SHA-256 of the file", update.file_hash_sha256],
  ];
  for (const [name, value] of facts.filter(([, value]) => value)) {
    part(".facts").append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  return made;
}

function buttons(update) {
  if (!canChange || (isActive(update) && update.phase !== "downloading")) return [];
  const blocked = isActive(state?.update) && state.update.phase !== "downloading";
  const make = (text, kind, act) => {
    const button = element("button", { className: `button small ${kind}`, type: "button", disabled: blocked }, text,
      element("span", { className: "hidden" }, ` ${update.version}`));
    button.addEventListener("click", () => act(update));
    return button;
  };
  const current = updates.find((known) => known.phase === "completed");
  const rollable = update === current && update.version === state?.current_version;
  const made = [];
  if (update.phase === "pending" && update.has_firmware_file) made.push(make("Apply", "primary", apply));
  if (update.phase === "stuck" || (["failed", "rolled_back"].includes(update.phase) && update.has_firmware_file)) {
    made.push(make("Try again", "", apply));
  }
  if (rollable) made.push(make("Roll back", "", rollBack));
  if (update.phase !== "stuck" && !rollable) made.push(make("Delete", "quiet", remove));
  return made;
}

async function apply(update) {
  try {
    await call("POST", `/${update.public_id}/apply`, {});
    course.follow(update.public_id);
    refresh();
  } catch (error) {
    showError("list-error", failed(error));
  }
}

// --- dialogs

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

let confirmed = null;

function ask({ title, text, agree, button, danger, act }) {
  byId("confirm-title").textContent = title;
  byId("confirm-text").replaceChildren(...text);
  byId("confirm-agree").hidden = !agree;
  byId("confirm-box").checked = false;
  byId("confirm-box-text").textContent = agree ?? "";
  byId("confirm-do").textContent = button;
  byId("confirm-do").classList.toggle("danger", Boolean(danger));
  byId("confirm-do").disabled = Boolean(agree);
  showError("confirm-error", "");
  confirmed = act;
  byId("confirm").showModal();
}

byId("confirm-box").addEventListener("change", (event) => { byId("confirm-do").disabled = !event.target.checked; });

byId("confirm-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("confirm-do").disabled = true;
  try {
    await confirmed();
    byId("confirm").close();
    refresh();
  } catch (error) {
    showError("confirm-error", failed(error));
    byId("confirm-do").disabled = false;
  }
});

async function rollBack(update) {
  try {
    const { version, discards_data_since: since } = await call("GET", `/${update.public_id}/rollback`);
    const warning = element("p", { className: "warning" });
    if (since) {
      warning.textContent = `${version} cannot read the data that ${update.version} has made. Everything written since ` +
        `${when(since)} is lost: the database is restored as it was then. The current database is kept beside it on the device.`;
    }
    ask({
      title: `Roll back to ${version}?`,
      text: [
        since ? warning : element("p", {}, `No data is changed: everything that was written stays, and ${version} continues with it.`),
        element("p", { className: "muted" }, "The services that changed restart; for that moment the product does not answer."),
      ],
      agree: since ? `I understand that everything written since ${when(since)} is lost.` : undefined,
      button: "Roll back",
      danger: Boolean(since),
      act: async () => {
        await call("POST", `/${update.public_id}/rollback`, { discard_data_since: since });
        course.follow(update.public_id);
      },
    });
  } catch (error) {
    showError("list-error", failed(error));
  }
}

function remove(update) {
  ask({
    title: `Delete the record of ${update.version}?`,
    text: [
      element("p", {}, "The record and its notes are removed from this list."),
      element("p", { className: "muted" }, update.has_firmware_file
        ? "Its bundle is deleted too, unless the running or the previous version needs it." : "There is no bundle to delete."),
    ],
    button: "Delete",
    danger: true,
    act: () => call("DELETE", `/${update.public_id}`),
  });
}

byId("new").addEventListener("click", () => {
  byId("new-form").reset();
  showError("new-error", "");
  byId("new-version").ariaInvalid = null;
  byId("new-dialog").showModal();
});

byId("new-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [version, changelog] = [byId("new-version").value.trim(), byId("new-notes").value];
  try {
    await call("POST", "", { version, changelog });
    byId("new-dialog").close();
    announce(`${version} is registered`);
    refresh();
    check();
  } catch (error) {
    showError("new-error", version === "" ? "Enter a version." : failed(error));
    byId("new-version").ariaInvalid = "true";
    byId("new-version").focus();
  }
});

// --- the audit log

let lines = PAGE;

async function loadAudit() {
  try {
    const { data, total } = await call("GET", `/audit?page_size=${Math.min(lines, 100)}`);
    byId("audit-lines").replaceChildren(...data.map(({ at, who, address, action, subject, outcome }) => element("tr", {},
      element("td", {}, time(at)),
      element("td", {}, address ? `${who} (${address})` : who),
      element("td", {}, `${action} ${subject}`),
      element("td", {}, outcome))));
    byId("audit-empty").hidden = total > 0;
    byId("audit-more").hidden = data.length >= total || data.length >= 100;
  } catch (error) {
    failed(error);
  }
}

byId("audit").addEventListener("toggle", () => byId("audit").open && loadAudit());
byId("audit-more").addEventListener("click", () => { lines += PAGE; loadAudit(); });

addEventListener("beforeunload", (event) => { if (upload.running) event.preventDefault(); });

start();
