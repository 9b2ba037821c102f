// Uploading a bundle: in pieces by the tus protocol, so that a broken connection costs one piece, and a page that was
// closed continues where it was when the same file is chosen again.

import { BASE, Refused, duration, sentence, size } from "./api.js";

const PIECE = 32 * 1024 * 1024;
const PATIENCE = 30; // tries in a row without a byte having come
const TUS = { "Tus-Resumable": "1.0.0" };

const byId = (id) => document.getElementById(id);

export class Upload {
  #file = null;
  #request = null;
  #cancelled = false;
  #sampled = [];

  // `begun` is called when all bytes are here; `failed` on 401.
  constructor({ begun, loggedOut, announce }) {
    this.begun = begun;
    this.loggedOut = loggedOut;
    this.announce = announce;
    const [input, drop] = [byId("file"), byId("drop")];
    input.addEventListener("change", () => this.#choose(input.files[0]));
    for (const kind of ["dragenter", "dragover"]) {
      drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); this.#choose(event.dataTransfer.files[0]); });
    byId("upload-start").addEventListener("click", () => this.#run());
    byId("upload-cancel").addEventListener("click", () => this.#cancel());
  }

  get running() { return this.#file !== null && byId("upload-start").hidden; }

  #choose(file) {
    if (!file) return;
    this.#error("");
    if (!/\.(tar\.gz|tgz|zip)$/i.test(file.name)) return this.#error("A bundle is a .tar.gz or a .zip file.");
    this.#file = file;
    byId("upload-name").textContent = file.name;
    byId("upload-size").textContent = size(file.size);
    this.#show(true);
    byId("upload-start").hidden = false;
    byId("upload-text").textContent = "It is applied as soon as it is uploaded and checked.";
    this.#progress(0);
    byId("upload-start").focus();
  }

  #show(progress) {
    byId("upload-choose").hidden = progress;
    byId("upload-progress").hidden = !progress;
  }

  #error(text) {
    byId("upload-error").textContent = text;
    byId("upload-error").hidden = text === "";
  }

  #progress(bytes) {
    byId("upload-bar").value = this.#file ? bytes / this.#file.size : 0;
  }

  #key() {
    const { name, size: bytes, lastModified } = this.#file;
    return `ota:upload:${name}:${bytes}:${lastModified}`;
  }

  async #cancel() {
    this.#cancelled = true;
    this.#request?.abort();
    const place = this.#file && localStorage.getItem(this.#key());
    if (place) {
      localStorage.removeItem(this.#key());
      fetch(place, { method: "DELETE", headers: TUS }).catch(() => {});
    }
    this.#rest();
    byId("file").focus();
  }

  #rest() {
    this.#file = null;
    this.#request = null;
    byId("file").value = "";
    this.#show(false);
  }

  async #run() {
    this.#cancelled = false;
    this.#error("");
    byId("upload-start").hidden = true;
    byId("upload-cancel").focus();
    this.announce("Uploading");
    try {
      const update = await this.#send();
      if (this.#cancelled) return;
      this.#rest();
      this.begun(update);
    } catch (error) {
      if (this.#cancelled) return;
      if (error.status === 401) {
        byId("upload-start").hidden = false;
        return this.loggedOut();
      }
      localStorage.removeItem(this.#key());
      this.#rest();
      this.#error(error.message);
    }
  }

  // Sends what is missing until all is here, and gives the address of the update.
  async #send() {
    this.#sampled = [];
    let [failures, offset, announced] = [0, null, 0];
    for (;;) {
      try {
        const place = localStorage.getItem(this.#key()) ?? await this.#begin();
        if (offset === null) offset = await this.#offset(place);
        const answer = await this.#piece(place, offset);
        failures = 0;
        offset = answer.offset;
        if (answer.update) {
          localStorage.removeItem(this.#key());
          return answer.update;
        }
        const quarter = Math.floor((4 * offset) / this.#file.size);
        if (quarter > announced) this.announce(`${25 * quarter} percent uploaded`);
        announced = quarter;
      } catch (error) {
        if (this.#cancelled) throw error;
        // The device removed it, after a day or for lack of space: from the beginning.
        if (error.status === 404 && failures < 3) localStorage.removeItem(this.#key());
        else if (![0, 408, 423, 502, 503, 504].includes(error.status)) throw error;
        failures += 1;
        if (failures > PATIENCE) throw error;
        offset = null;
        byId("upload-text").textContent = "The connection is lost. The upload continues when the device answers.";
        await new Promise((done) => setTimeout(done, Math.min(1000 * 2 ** failures, 10000)));
      }
    }
  }

  async #begin() {
    const answer = await this.#fetch(BASE + "/uploads", "POST", { "Upload-Length": String(this.#file.size) });
    const place = answer.headers.get("location");
    localStorage.setItem(this.#key(), place);
    return place;
  }

  async #offset(place) {
    const answer = await this.#fetch(place, "HEAD", {});
    return Number(answer.headers.get("upload-offset"));
  }

  async #fetch(address, method, headers) {
    let answer;
    try {
      answer = await fetch(address, { method, headers: { ...TUS, ...headers }, credentials: "same-origin" });
    } catch {
      throw new Refused(0, "The device does not answer.");
    }
    if (answer.ok) return answer;
    throw new Refused(answer.status, detail(await answer.text().catch(() => ""), answer.status));
  }

  // fetch() reports no progress of what it sends.
  #piece(place, offset) {
    const request = new XMLHttpRequest();
    this.#request = request;
    const end = Math.min(offset + PIECE, this.#file.size);
    return new Promise((done, failed) => {
      request.open("PATCH", place);
      const headers = { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (event) => this.#tell(offset + event.loaded));
      request.addEventListener("load", () => {
        if (request.status === 204) {
          const location = request.getResponseHeader("location");
          done({ offset: Number(request.getResponseHeader("upload-offset")), update: location });
        } else {
          failed(new Refused(request.status, detail(request.responseText, request.status)));
        }
      });
      for (const kind of ["error", "abort", "timeout"]) {
        request.addEventListener(kind, () => failed(new Refused(0, "The connection to the device broke.")));
      }
      request.send(this.#file.slice(offset, end));
    });
  }

  #tell(bytes) {
    if (!this.#file) return;
    const at = performance.now();
    this.#sampled = [...this.#sampled.filter((sample) => at - sample.at < 8000), { at, bytes }];
    const { at: since, bytes: before } = this.#sampled[0];
    const speed = at > since ? (1000 * (bytes - before)) / (at - since) : 0;
    const left = speed > 0 ? `, ${duration((1000 * (this.#file.size - bytes)) / speed)} left` : "";
    this.#progress(bytes);
    byId("upload-text").textContent = bytes >= this.#file.size
      ? "The upload is complete. The device checks it."
      : `${size(bytes)} of ${size(this.#file.size)}${speed > 0 ? ` · ${size(speed)}/s` : ""}${left}`;
  }
}

function detail(text, status) {
  try { return sentence(JSON.parse(text).detail); } catch { return `The device answers with status ${status}.`; }
}
