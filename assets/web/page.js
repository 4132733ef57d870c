// The page of `reelm serve`: one form, one list of clips. Talks to this server's API only
// (docs/SERVER.md); everything it shows comes from there, so a reload loses nothing.
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

/* ---- Files given ---- */

// Roles of a kind of file: [value, what people read, field of the API].
const ROLES = {
  image: [["start", "first picture", "input_reference"], ["end", "last picture", "end_image"],
          ["mask", "mask: white is made anew", "mask"], ["depth", "depth", "control_depth"]],
  video: [["continue", "go on from it", "video"], ["edit", "change a part of it", "video"],
          ["restyle", "make it look different", "video"], ["sound", "make sound for it", "video_reference"],
          ["mask", "mask: white is made anew", "mask"], ["depth", "depth", "control_depth"],
          ["flow", "motion", "control_flow"]],
  audio: [["visualize", "make a video for it", "audio_reference"]],
};
let given = []; // {kind, role, file or id, name, url}

function kindOf(file) {
  const kind = file.type.split("/")[0];
  if (file.type === "image/gif") return "video";
  if (ROLES[kind]) return kind;
  return /\.(y4m|mkv|mp4|webm|mov|avi)$/i.test(file.name) ? "video"
    : /\.(wav|flac|ogg|mp3|m4a|opus)$/i.test(file.name) ? "audio" : "";
}

function guessRole(kind) {
  const has = (role) => given.some((g) => g.role === role);
  if (kind === "image" && given.some((g) => g.kind === "video")) return "mask";
  if (kind === "image") return has("start") ? (has("end") ? "mask" : "end") : "start";
  if (kind === "video") return given.some((g) => g.kind === "video") ? "mask" : "continue";
  return "visualize";
}

async function take(files) {
  for (const file of files) {
    const settings = await readSettings(file).catch(() => null);
    if (settings) {
      fillForm(settings);
      say("Settings restored from " + file.name);
      complain("");
      continue;
    }
    const kind = kindOf(file);
    if (!kind) {
      complain(`${file.name} is no picture, video or sound that can be read here.`);
      continue;
    }
    const max = props.limits.max_upload_bytes;
    if (max && file.size > max) {
      complain(`${file.name} is larger than this server takes (${Math.round(max / 1048576)} MB).`);
      continue;
    }
    if (kind === "video")
      for (const g of given) if (g.kind === "image" && g.role === "start") g.role = "mask";
    give({ kind, role: guessRole(kind), file, name: file.name, url: URL.createObjectURL(file) });
  }
  $("files").value = "";
}

function give(g) {
  given.push(g);
  if (["start", "continue", "edit", "restyle", "sound"].includes(g.role)) $("size").value = "";
  showGiven();
}

function drop(g) {
  if (g.file) URL.revokeObjectURL(g.url);
  given = given.filter((x) => x !== g);
  if (!given.length && !$("size").value) $("size").value = "128x128";
  showGiven();
  $("files").focus();
}

function showGiven() {
  $("given").replaceChildren(...given.map((g) => {
    const look = g.kind === "image" ? make("img", { src: g.url, alt: "" })
      : g.kind === "video" ? make("video", { src: g.url, muted: true, preload: "metadata" })
        : make("span", { textContent: "♪" });
    look.className = "look";
    const role = make("select", { ariaLabel: "Use " + g.name + " as" },
      ...ROLES[g.kind].map(([value, text]) => new Option(text, value, false, value === g.role)));
    role.addEventListener("change", () => { g.role = role.value; plan(); });
    const off = make("button", { type: "button", textContent: "✕", ariaLabel: "Remove " + g.name });
    off.addEventListener("click", () => drop(g));
    return make("li", {}, look,
      make("div", {}, make("div", { className: "name", textContent: g.name }), role), off);
  }));
  plan();
}

// The settings that a file made by reelm carries, or null.
async function readSettings(file) {
  const room = 4 << 20, mark = '{"schema":"reelm.settings/';
  const ends = [file.slice(0, room), file.slice(Math.max(room, file.size - room))];
  for (const part of ends) {
    const text = new TextDecoder("utf-8", { fatal: false }).decode(await part.arrayBuffer());
    const at = text.indexOf(mark);
    if (at < 0) continue;
    let depth = 0, quoted = false;
    for (let i = at; i < text.length && i < at + 200000; i++) {
      const c = text[i];
      if (quoted) {
        if (c === "\\") i++;
        else if (c === '"') quoted = false;
      } else if (c === '"') quoted = true;
      else if (c === "{") depth++;
      else if (c === "}" && !--depth) return JSON.parse(text.slice(at, i + 1));
    }
  }
  return null;
}

/* ---- The form ---- */

const NUMBERS = ["temperature", "top_k", "top_p", "min_p", "fps"];

function complain(text) {
  $("complaint").textContent = text;
}

// What the form amounts to: where it goes, under which fields, and a sentence about it.
function plan() {
  const by = (role) => given.find((g) => g.role === role);
  const words = $("prompt").value.trim();
  const editing = by("edit"), box = $("mask_box").value.trim(), out = $("outpaint").value.trim();
  const spans = props.has_sound && $("sound_spans").value.trim();
  $("edit-fields").hidden = !given.some((g) => g.kind !== "audio");
  let url = "/v1/videos", task = "", line = "Makes a clip" + (props.has_sound && $("sound").checked ? " with sound" : "") + " from your words.";
  if (by("continue")) {
    url = "/v1/videos/extensions";
    line = `Continues your video for ${$("seconds").value} s more.`;
  } else if (editing || by("restyle")) {
    url = "/v1/videos/edits";
    line = by("mask") || box || out ? "Makes a part of your video anew and keeps the rest."
      : editing && spans ? "Makes these seconds of its sound anew and keeps the rest."
      : editing ? "Give a mask, a box, a border or seconds of sound (under More) that say what to change."
        : "Makes your video look as your words say, with the same motion and depth.";
  } else if (by("sound")) {
    task = "sound";
    line = spans ? "Makes these seconds of its sound anew and keeps the rest." : "Makes a soundtrack for your video.";
  } else if (by("visualize")) {
    task = "visualize";
    line = "Makes a video for your sound.";
  } else if (by("mask") && by("start")) {
    line = "Makes a part of your picture anew and keeps the rest.";
  } else if (by("depth") || by("flow")) {
    line = "Makes a clip that follows the depth and motion given.";
  } else if (by("start") || by("end")) {
    line = by("start") && by("end") ? "Moves from the first picture to the last." : "Brings your picture to life.";
  } else if ($("format").value === "png") {
    line = "Makes one picture from your words.";
  } else if (!words) {
    line = "";
  }
  $("task-line").textContent = line;
  $("go").disabled = !words && !given.length;
  return { url, task };
}

function collect() {
  const { url, task } = plan(), body = new FormData();
  const put = (name, value) => { if (value !== "" && value !== null && value !== undefined) body.append(name, value); };
  put("prompt", $("prompt").value.trim());
  put("negative_prompt", $("negative").value.trim());
  put("task", task);
  const size = $("size").value;
  put("size", size === "other" ? `${$("width").value}x${$("height").value}` : size);
  if ($("format").value !== "png") put("seconds", $("seconds").value);
  put("seed", $("seed").value);
  put("guidance_scale", $("guidance").value);
  for (const name of NUMBERS) put(name, $(name).value);
  put("generate_sound", String($("sound").checked));
  put("output_format", $("format").value);
  if (!$("edit-fields").hidden) {
    put("mask_box", $("mask_box").value.trim());
    put("outpaint", $("outpaint").value.trim());
    if (given.some((g) => g.role === "edit" || g.role === "sound")) put("sound_spans", $("sound_spans").value.trim());
  }
  for (const g of given) {
    const field = ROLES[g.kind].find(([value]) => value === g.role)[2];
    if (g.file) body.append(field, g.file, "upload");
    else body.append(field + "[id]", g.id);
  }
  return { url, body };
}

async function submit() {
  const { url, body } = collect();
  complain("");
  $("go").disabled = true;
  try {
    const video = await json(url, { method: "POST", body });
    show(video, true);
    follow(video.id);
    say("Queued. " + (video.warnings || []).join(" "));
    for (const w of video.warnings || []) complain("Note: " + w);
  } catch (e) {
    complain(e.message);
  }
  plan();
}

function setValue(id, value) {
  $(id).value = value === undefined || value === null ? "" : value;
}

// From the settings of a job (API names) or of a file (`reelm metadata`).
function fillForm(s) {
  setValue("prompt", s.prompt);
  setValue("negative", s.negative_prompt);
  const width = s.width || Number((s.size || "").split("x")[0]);
  const height = s.height || Number((s.size || "").split("x")[1]);
  if (width && height) {
    const size = `${width}x${height}`;
    const known = [...$("size").options].some((o) => o.value === size);
    $("size").value = known ? size : "other";
    setValue("width", width);
    setValue("height", height);
  }
  const fps = s.fps || props.defaults.fps || 8;
  const seconds = s.seconds || (s.num_frames || s.frames || 0) / fps;
  if (seconds) $("seconds").value = Math.min(8, seconds);
  setValue("seed", s.seed);
  setValue("guidance", s.guidance_scale ?? s.cfg_scale ?? props.defaults.guidance_scale ?? 4.5);
  for (const name of NUMBERS) if (s[name] !== undefined) setValue(name, round(s[name]));
  if (s.generate_sound !== undefined) $("sound").checked = s.generate_sound === true || s.generate_sound === "true";
  if (s.audio !== undefined) $("sound").checked = s.audio === true;
  if (s.output_format) $("format").value = s.output_format;
  const boxes = (s.mask_boxes || []).map((b) => b.replace(/@(\d+)-(\d+)$/, (_, from, last) => `@${from}-${Number(last) + 1}`));
  setValue("mask_box", s.mask_box || boxes.join(";")); // a file names the last frame, the API the one behind
  setValue("outpaint", s.outpaint);
  setValue("sound_spans", [].concat(s.sound_spans || []).join(";"));
  refresh();
}

const round = (v) => (typeof v === "number" ? Math.round(v * 1000) / 1000 : v);

function refresh() {
  $("seconds-out").textContent = Number($("seconds").value).toFixed(1);
  $("guidance-out").textContent = Number($("guidance").value).toFixed(1);
  $("other-size").hidden = $("size").value !== "other";
  plan();
}

/* ---- The list ---- */

const cards = new Map(); // id -> {li, stage, text, video, frames, timer}
const seen = new IntersectionObserver((entries) => {
  for (const e of entries)
    if (e.isIntersecting) {
      seen.unobserve(e.target);
      e.target.load?.();
    }
}, { rootMargin: "300px" });

function show(video, first = false) {
  let card = cards.get(video.id);
  if (!card) {
    card = { li: make("li"), stage: make("div", { className: "stage" }), text: make("div", { className: "text" }), frames: [] };
    card.li.append(card.stage, card.text);
    card.li.dataset.id = video.id;
    cards.set(video.id, card);
    if (first) $("gallery").prepend(card.li);
    else $("gallery").append(card.li);
  }
  const was = card.video && card.video.status;
  card.video = { ...card.video, ...video };
  if (was !== video.status) showStage(card);
  showText(card);
  $("empty").hidden = cards.size > 0;
}

function showStage(card) {
  const v = card.video;
  clearInterval(card.timer);
  if (v.status === "completed") {
    showResult(card);
  } else if (v.status === "failed") {
    card.stage.replaceChildren(make("p", { textContent: v.error && v.error.code === "cancelled" ? "Cancelled" : "This did not work" }));
  } else if (!card.frames.length) {
    card.stage.replaceChildren(make("p", { textContent: v.status === "queued" ? "Waiting …" : "Starting …" }));
  }
}

// With a key, bytes come through fetch, because elements send no header.
async function source(path) {
  if (!key) return path;
  return URL.createObjectURL(await (await call(path)).blob());
}

function showResult(card) {
  const v = card.video, path = `/v1/videos/${v.id}/content`;
  const still = v.format === "png" || v.format === "gif";
  const look = still ? make("img", { alt: v.prompt || "clip" })
    : make("video", { controls: true, loop: true, playsInline: true, preload: "metadata" });
  if (!still) look.setAttribute("aria-label", v.prompt || "clip");
  const box = make("div", {}, look);
  box.load = async () => {
    try {
      if (!still) look.poster = await source(path + "?variant=thumbnail");
      look.src = await source(path);
    } catch (e) {
      card.stage.replaceChildren(make("p", { textContent: e.message }));
    }
  };
  card.stage.replaceChildren(box);
  seen.observe(box);
}

function stateLine(v) {
  if (v.status === "queued")
    return v.queue_position ? `${v.queue_position} ahead` : "next";
  const stages = { prefill: "reading", sample: "imagining", decode: "drawing" };
  const left = v.eta_seconds >= 0 ? `, about ${Math.max(1, Math.round(v.eta_seconds))} s left` : "";
  return `${stages[v.stage] || "working"} ${v.progress || 0} %${left}`;
}

function settingsList(v) {
  const dl = make("dl");
  for (const [name, value] of Object.entries(v.settings || {}))
    if (name !== "prompt" && value !== null && value !== "")
      dl.append(make("dt", { textContent: name.replaceAll("_", " ") }), make("dd", { textContent: String(round(value)) }));
  return make("details", { className: "settings" }, make("summary", { textContent: "Settings" }), dl);
}

function showText(card) {
  const v = card.video, open = v.status === "queued" || v.status === "in_progress";
  if (open && card.bar) { // keep focus on Cancel while numbers change
    card.bar.value = v.progress || 0;
    card.state.textContent = stateLine(v);
    return;
  }
  card.bar = card.state = null;
  const parts = [make("p", { className: v.prompt ? "prompt" : "prompt none", textContent: v.prompt || "no words", title: v.prompt || "" })];
  if (open) {
    card.bar = make("progress", { max: 100, value: v.progress || 0, ariaLabel: "Progress" });
    card.state = make("p", { className: "state", textContent: stateLine(v) });
    parts.push(card.bar, card.state, acts(["Cancel", () => act(v.id, "cancel")]));
  } else {
    if (v.status === "completed") {
      const secs = Number(v.seconds).toFixed(1);
      parts.push(make("p", { className: "facts", textContent: `${(v.size || "").replace("x", " × ")}, ${secs} s, made in ${Number(v.inference_time_s).toFixed(1)} s, seed ${v.seed}` }));
    } else if (v.error && v.error.code !== "cancelled") {
      parts.push(make("p", { className: "warn", textContent: v.error.message }));
    }
    for (const w of v.warnings || []) parts.push(make("p", { className: "warn", textContent: w }));
    parts.push(settingsList(v), finishedActs(card));
  }
  card.text.replaceChildren(...parts);
}

function acts(...list) {
  return make("div", { className: "acts" }, ...list.map(([text, todo, about]) => {
    const b = make("button", { type: "button", textContent: text });
    if (about) b.title = about;
    b.addEventListener("click", todo);
    return b;
  }));
}

function reuse(card, role) {
  const v = card.video;
  for (const g of [...given]) drop(g);
  fillForm({ ...v.settings, prompt: v.prompt, size: v.size, seed: role ? "" : v.seed });
  if (role) {
    const still = v.format === "png";
    give({ kind: still ? "image" : "video", role: still ? "start" : role, id: v.id, name: "that clip", url: card.stage.querySelector("video,img")?.src || "" });
  }
  $("prompt").focus();
  $("compose").scrollIntoView({ block: "nearest" });
}

async function download(v) {
  try {
    const a = make("a", { href: await source(`/v1/videos/${v.id}/content`), download: `reelm-${v.seed}.${v.format}` });
    document.body.append(a);
    a.click();
    a.remove();
  } catch (e) {
    complain(e.message);
  }
}

function finishedActs(card) {
  const v = card.video;
  const list = [];
  if (v.status === "completed") {
    list.push(["Download", () => download(v)]);
    list.push([v.format === "png" ? "Animate" : "Extend", () => reuse(card, "continue"), "Go on from here"]);
    if (v.format !== "png") list.push(["Stylise", () => reuse(card, "restyle"), "The same motion, another look"]);
  }
  list.push(["Again with this seed", () => reuse(card, "")]);
  list.push(["Delete", () => remove(v.id)]);
  return acts(...list);
}

async function act(id, what) {
  try {
    show(await json(`/v1/videos/${id}/${what}`, { method: "POST" }));
    say("Cancelled");
  } catch (e) {
    complain(e.message);
  }
}

async function remove(id) {
  try {
    await call(`/v1/videos/${id}`, { method: "DELETE" });
  } catch (e) {
    complain(e.message);
    return;
  }
  const li = cards.get(id).li, next = li.nextElementSibling || li.previousElementSibling;
  clearInterval(cards.get(id).timer);
  li.remove();
  cards.delete(id);
  $("empty").hidden = cards.size > 0;
  (next ? next.querySelector("button") : $("prompt")).focus();
  say("Deleted");
}

/* ---- Following a job ---- */

// Frames of a preview strip join those before and play in a loop until the clip is there.
async function preview(card, p) {
  const strip = make("img", { src: p.image });
  await strip.decode();
  if (card.video.status === "completed") return;
  for (let i = 0; i < p.count; i++) card.frames[p.first + i] = { strip, x: i * p.width };
  let canvas = card.stage.querySelector("canvas");
  if (!canvas) {
    canvas = make("canvas", { width: p.width, height: p.height, role: "img", ariaLabel: "Frames made so far" });
    card.stage.replaceChildren(canvas);
    let at = 0;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const draw = () => {
      const frames = card.frames.filter(Boolean);
      at = still ? frames.length - 1 : (at + 1) % frames.length;
      const f = frames[at];
      canvas.getContext("2d").drawImage(f.strip, f.x, 0, p.width, p.height, 0, 0, canvas.width, canvas.height);
    };
    draw();
    card.timer = setInterval(draw, 125);
  }
}

function heard(id, name, data) {
  const card = cards.get(id);
  if (!card) return true;
  if (name === "status") {
    show(data);
    if (data.status === "completed") say("A clip is ready: " + (data.prompt || ""));
    if (data.status === "failed") say("A clip failed");
  }
  if (name === "progress") show({ ...card.video, ...data, id, status: "in_progress" });
  if (name === "preview") preview(card, data).catch(() => {});
  return name === "end" && data.reason !== "server_stopping";
}

// Server-sent events over fetch, so that a key can go along; comes back when the line breaks.
async function follow(id) {
  for (let turn = 0; cards.has(id); turn++) {
    if (turn) await new Promise((r) => setTimeout(r, 2000));
    try {
      const reader = (await call(`/v1/videos/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        let cut;
        while ((cut = text.indexOf("\n\n")) >= 0) {
          const block = text.slice(0, cut);
          text = text.slice(cut + 2);
          const name = /^event: (.*)$/m.exec(block), data = /^data: (.*)$/m.exec(block);
          if (name && data && heard(id, name[1], JSON.parse(data[1]))) return;
        }
      }
    } catch (e) {
      const gone = await call(`/v1/videos/${id}`).then(() => false, (why) => !/does not answer/.test(why.message));
      if (gone) return;
    }
  }
}

async function load(after = "") {
  const page = await json(`/v1/videos?limit=24${after ? "&after=" + after : ""}`);
  for (const v of page.data) {
    show(v);
    if (v.status === "queued" || v.status === "in_progress") follow(v.id);
  }
  $("older").hidden = !page.has_more;
  $("older").onclick = () => load(page.last_id).catch((e) => complain(e.message));
}

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
