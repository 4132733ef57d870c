// The page of `reelm serve`: one form (form.js), one list of clips (clips.js). Talks to this
// server's API only (docs/SERVER.md); everything it shows comes from there, so a reload loses
// nothing.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, props = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
};
const say = (text) => { $("news").textContent = text; };

/* ---- The server ---- */

let key = sessionStorage.getItem("key") || "";
let props = { defaults: {}, limits: {}, has_sound: true };
let keyAsked = null;

function askKey() {
  keyAsked ||= new Promise((done) => {
    const d = $("key-dialog");
    d.addEventListener("close", () => {
      key = $("key").value.trim();
      sessionStorage.setItem("key", key);
      keyAsked = null;
      done();
    }, { once: true });
    d.showModal();
  });
  return keyAsked;
}

async function call(path, options = {}) {
  for (;;) {
    const headers = { ...(options.headers || {}), ...(key ? { Authorization: "Bearer " + key } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      if (key) $("key-title").textContent = "That key is not right";
      await askKey();
      continue;
    }
    if (answer.ok) return answer;
    let text = `The server answered ${answer.status}.`;
    try { text = (await answer.json()).error.message; } catch { /* not ours */ }
    const wait = answer.headers.get("Retry-After");
    throw new Error(answer.status === 429 && wait ? `${text} Try again in ${wait} s.` : text);
  }
}

const json = async (path, options) => (await call(path, options)).json();

/* ---- Begin ---- */

async function begin() {
  for (const name of ["prompt", "seconds", "guidance", "size", "sound", "format", "mask_box", "outpaint", "sound_spans"])
    $(name).addEventListener("input", refresh);
  $("compose").addEventListener("submit", (e) => { e.preventDefault(); submit(); });
  $("clear").addEventListener("click", () => {
    $("compose").reset();
    for (const g of [...given]) drop(g);
    complain("");
    refresh();
    $("prompt").focus();
  });
  $("prompt").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && !$("go").disabled) $("compose").requestSubmit();
  });
  $("no-seed").addEventListener("click", () => { $("seed").value = ""; });
  $("files").addEventListener("change", () => take([...$("files").files]));
  addEventListener("paste", (e) => { if (e.clipboardData.files.length) take([...e.clipboardData.files]); });
  addEventListener("dragover", (e) => { e.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) document.body.classList.remove("over"); });
  addEventListener("drop", (e) => {
    e.preventDefault();
    document.body.classList.remove("over");
    take([...e.dataTransfer.files]);
  });
  refresh();
  try {
    props = await json("/props");
    const d = props.defaults;
    for (const name of NUMBERS) $(name).placeholder = d[name] ?? "";
    // What Clear goes back to; what somebody has set meanwhile stays.
    if (d.guidance_scale) $("guidance").defaultValue = d.guidance_scale;
    if (d.num_frames && d.fps) $("seconds").defaultValue = d.num_frames / d.fps;
    $("sound").defaultChecked = props.has_sound;
    $("sound").parentElement.hidden = !props.has_sound;
    $("about").textContent = `${props.model} · ${props.build}`;
    refresh();
    await load();
  } catch (e) {
    complain(e.message);
  }
}

begin();
