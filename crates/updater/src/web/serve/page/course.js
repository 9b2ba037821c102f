// The course of an update: its steps, what is being done now, and how it ended. Everything comes from the device; the page
// only shows it, so it makes no difference when it was opened, or whether the connection broke meanwhile.

import { brief, duration, now, sentence, size, time } from "./api.js";
import { element } from "./notes.js";

const STEPS = [
  ["downloading", "Download"],
  ["verifying", "Verify"],
  ["backing_up", "Back up data"],
  ["loading", "Load images"],
  ["quiescing", "Stop services"],
  ["switching", "Start new version"],
  ["checking", "Check health"],
  ["soaking", "Watch"],
  ["committing", "Finish"],
];
const BACK = [["rolling_back", "Restore version"], ["rolled_back", "Done"]];
const WORDS = {
  downloading: "Downloading the bundle",
  verifying: "Checking the bundle: every byte, its signature, and whether this device can take it",
  backing_up: "Saving the database",
  loading: "Loading images; the running version keeps running",
  quiescing: "Stopping services, so that the data can be migrated",
  switching: "Starting the new version's services",
  checking: "Checking whether the product is healthy",
  soaking: "Watching whether it stays up",
  committing: "Tidying up",
  undoing: "It did not work. Restoring the previous version",
  rolling_back: "Restoring the previous version",
  returning: "Rolling back did not work. Restoring the newer version",
};
const ACTIVE = Object.keys(WORDS);

const byId = (id) => document.getElementById(id);

export const isActive = (update) => Boolean(update) && ACTIVE.includes(update.phase);

export class Course {
  #state = null;
  #work = {};
  #shown = null; // the update that was shown under way
  #announced = "";

  constructor({ announce }) {
    this.announce = announce;
    setInterval(() => this.#time(), 1000);
  }

  state(state) {
    this.#state = state;
    if (isActive(state.update)) this.#shown = state.update.public_id;
    this.#draw();
  }

  work(work) {
    this.#work = work;
    this.#drawWork();
  }

  // An update that was just requested is shown, however fast it ends.
  follow(id) {
    this.#shown = id;
    if (this.#state) this.#draw();
    if (!byId("course").hidden) {
      byId("course").scrollIntoView({ block: "nearest" });
      byId("course-title").focus();
    }
  }

  #draw() {
    const { update, phases, restarts, gated, notes } = this.#state;
    const card = byId("course");
    card.hidden = !update || (update.public_id !== this.#shown && update.phase !== "stuck");
    if (card.hidden) return;
    const active = isActive(update);
    const back = phases.some((phase) => phase === "rolling_back" || phase === "returning") || update.phase === "rolled_back";
    const title = {
      completed: back ? `Rolling back ${update.version} did not work` : `${update.version} is installed`,
      rolled_back: `${update.version} was rolled back`,
      failed: `${update.version} was not installed`,
      stuck: "The device needs a person",
    }[update.phase] ?? (back ? `Rolling back ${update.version}` : `Installing ${update.version}`);
    byId("course-title").textContent = title;
    const kind = update.status === "failed" || update.phase === "undoing" || (back && update.phase === "completed") ? "bad" : "good";
    card.dataset.kind = kind;

    this.#drawSteps(update, phases, gated, back);
    const result = byId("course-result");
    result.hidden = active;
    result.dataset.kind = kind;
    result.textContent = this.#result(update, back);
    byId("restarts").textContent = active && restarts.length > 0 && !back
      ? `Restarts: ${restarts.join(", ")}.${gated ? " Services stop while the data is migrated." : " Everything else keeps running."}`
      : "";
    byId("course-notes").hidden = notes.length === 0;
    byId("course-log").replaceChildren(...notes.map(({ at, text }) => element("li", {}, time(at, "clock"), text)));
    this.#drawWork();
    this.#time();
    const said = active ? WORDS[update.phase] : title;
    if (said !== this.#announced) this.announce(said);
    this.#announced = said;
  }

  #result(update, back) {
    const why = update.error_message ? brief(update.error_message) : "";
    const runs = this.#state.current_version ? `${this.#state.current_version} runs.` : "Nothing is installed.";
    if (update.phase === "completed") return back ? `${why}\n${runs}` : "All services run and are healthy.";
    if (update.phase === "rolled_back") return runs;
    if (update.phase === "stuck") return `${why}\nFix the problem that is named here, then try again.`;
    if (update.phase === "failed") return `${why}\n${runs} Nothing was lost.`;
    return "It waits for its turn.";
  }

  #drawSteps(update, phases, gated, back) {
    const downloaded = phases.includes("downloading");
    const steps = back ? BACK : STEPS.filter(([phase]) =>
      (phase !== "quiescing" || gated) && (phase !== "downloading" || downloaded));
    // Where it was when it went wrong.
    const reached = [...phases].reverse().find((phase) => steps.some(([name]) => name === phase));
    const failed = ["undoing", "failed", "stuck"].includes(update.phase) || (back && ["returning", "completed"].includes(update.phase));
    const at = steps.findIndex(([phase]) => phase === reached);
    const all = update.phase === "completed" || update.phase === "rolled_back";
    const items = steps.map(([, word], index) => {
      const item = element("li", {}, word);
      const state = failed && index === at ? "failed" : (all && !failed) || index < at ? "done" : index === at ? "now" : "";
      if (state) item.className = state;
      if (state === "now") item.ariaCurrent = "step";
      const spoken = { done: ", done", failed: ", failed" }[state];
      if (spoken) item.append(element("span", { className: "hidden" }, spoken));
      return item;
    });
    byId("steps").replaceChildren(...items);
  }

  #drawWork() {
    const update = this.#state?.update;
    const active = isActive(update);
    byId("work").hidden = !active;
    if (!active) return;
    const { what, done_bytes: done, total_bytes: total } = this.#work;
    const bytes = what && done > 0 ? ` · ${size(done)}${total ? ` of ${size(total)}` : ""}` : "";
    const word = WORDS[update.phase];
    byId("work-text").textContent = `${what && update.phase === "loading" ? sentence(what) : word}${bytes}`;
    const bar = byId("work-bar");
    if (what && total) bar.value = Math.min(1, done / total);
    else bar.removeAttribute("value");
  }

  #time() {
    const update = this.#state?.update;
    if (byId("course").hidden || !update?.started_on) return;
    const end = update.completed_on && !isActive(update) ? Date.parse(update.completed_on) : now();
    const rolling = ["rolling_back", "returning", "rolled_back"].includes(update.phase);
    byId("course-time").textContent = rolling ? "" : duration(end - Date.parse(update.started_on));
  }
}
