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

const isKey = (text) => /^[!-~]+$/.test(text); // what can stand in a header
let key = sessionStorage.getItem("key") || "";
if (!isKey(key)) key = "";
let props = { defaults: {}, limits: {}, has_sound: true };
let keyAsked = null;

function askKey() {
  keyAsked ||= new Promise((done) => {
    const d = $("key-dialog");
    d.addEventListener("close", () => {
      const text = $("key").value.trim();
      key = isKey(text) ? text : "";
      $("key-title").textContent = text && !key ? "A key has letters, digits and signs of ASCII only" : "This server needs a key";
      keyAsked = null;
      done();
    }, { once: true });
    d.showModal();
  });
  return keyAsked;
}

// What is wrong with an answer, its status with it.
async function refusal(answer) {
  let text = `The server answered ${answer.status}.`;
  try { text = (await answer.json()).error.message; } catch { /* not ours */ }
  const wait = answer.headers.get("Retry-After");
  if (answer.status === 429 && wait) text += ` Try again in ${wait} s.`;
  return Object.assign(new Error(text), { status: answer.status });
}

async function call(path, options = {}) {
  for (;;) {
    const used = key;
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: used ? { Authorization: "Bearer " + used } : {} });
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw Object.assign(new Error("The server does not answer. Is it still running?"), { status: 0 });
    }
    if (answer.status === 401) {
      if (used && used === key) $("key-title").textContent = "That key is not right";
      if (used === key) await askKey(); // else another call has asked meanwhile
      continue;
    }
    if (used) sessionStorage.setItem("key", used);
    if (answer.ok) return answer;
    throw await refusal(answer);
  }
}

const json = async (path, options) => (await call(path, options)).json();

/* ---- Begin ---- */

// Files only: words that are dragged belong to the field they are let go over.
function takeDrops() {
  const files = (e) => e.dataTransfer.types.includes("Files");
  addEventListener("paste", (e) => { if (e.clipboardData.files.length) take([...e.clipboardData.files]); });
  addEventListener("dragover", (e) => {
    if (!files(e)) return;
    e.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) document.body.classList.remove("over"); });
  addEventListener("drop", (e) => {
    document.body.classList.remove("over");
    if (!files(e)) return;
    e.preventDefault();
    take([...e.dataTransfer.files]);
  });
}

async function begin() {
  for (const name of ["prompt", "seconds", "guidance", "size", "sound", "format", "mask_box", "outpaint", "sound_spans"])
    $(name).addEventListener("input", refresh);
  $("compose").addEventListener("submit", (e) => { e.preventDefault(); submit(); });
  $("clear").addEventListener("click", () => {
    $("compose").reset();
    giveNothing();
    complain("");
    refresh();
    $("prompt").focus();
  });
  $("prompt").addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && !$("go").disabled) $("compose").requestSubmit();
  });
  $("no-seed").addEventListener("click", () => { $("seed").value = ""; });
  $("files").addEventListener("change", () => take([...$("files").files]));
  takeDrops();
  $("older").addEventListener("click", () => load().catch((e) => complain(e.message)));
  document.addEventListener("visibilitychange", () => (document.hidden ? listen() : watch()));
  refresh();
  await reach();
}

// What the server is, and its list; again until it has loaded its model.
async function reach() {
  for (;;) {
    try {
      props = await json("/props");
      showProps();
      await load();
      return lost("");
    } catch (e) {
      if (e.status > 0 && e.status < 500) return complain(e.message);
      lost(e.message);
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

function showProps() {
  const d = props.defaults;
  for (const name of NUMBERS) $(name).placeholder = d[name] ?? "";
  // What Clear goes back to; what somebody has set meanwhile stays.
  if (d.guidance_scale) $("guidance").defaultValue = d.guidance_scale;
  if (d.num_frames && d.fps) $("seconds").defaultValue = d.num_frames / d.fps;
  $("best_of").max = props.limits.max_best_of;
  $("best_of").parentElement.hidden = !(props.limits.max_best_of > 1);
  $("sound").defaultChecked = props.has_sound;
  $("sound").parentElement.hidden = !props.has_sound;
  $("about").textContent = `${props.model} · ${props.build}`;
  refresh();
}

begin();
