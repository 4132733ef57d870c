// The list of clips, and following those in work.
"use strict";

/* ---- The list ---- */

const cards = new Map(); // id -> {li, stage, text, video, frames, timer, blobs}
const gone = new Set(); // ids of cards taken away: an answer on its way may still name them
const seen = new IntersectionObserver((entries) => {
  for (const e of entries)
    if (e.isIntersecting) {
      seen.unobserve(e.target);
      e.target.load?.();
    }
}, { rootMargin: "300px" });

const isOpen = (v) => v.status === "queued" || v.status === "in_progress";
const openOnes = () => [...cards.values()].filter((card) => isOpen(card.video));

// A new card goes before that element, or to the end.
function show(video, before = null) {
  let card = cards.get(video.id);
  if (!card) {
    card = { li: make("li"), stage: make("div", { className: "stage" }), text: make("div", { className: "text" }), frames: [], blobs: {} };
    card.li.append(card.stage, card.text);
    card.li.dataset.id = video.id;
    cards.set(video.id, card);
    $("gallery").insertBefore(card.li, before);
  }
  const was = card.video;
  if (was && !isOpen(was)) return; // news from before its end
  card.video = video;
  if (was?.status !== video.status) showStage(card);
  showText(card);
  $("empty").hidden = cards.size > 0;
  if (was && video.status === "completed") say("A clip is ready: " + (video.prompt || ""));
  if (was && video.status === "failed" && video.error?.code !== "cancelled") say("A clip failed");
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

// With a key, bytes come through fetch, because elements send no header. They are kept once for
// picture and download, until the card goes.
function source(card, path) {
  if (!key) return path;
  card.blobs[path] ||= call(path).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob));
  card.blobs[path].catch(() => { delete card.blobs[path]; });
  return card.blobs[path];
}

function release(card) {
  for (const made of Object.values(card.blobs)) made.then((url) => URL.revokeObjectURL(url), () => {});
  card.blobs = {};
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
      if (!still) look.poster = await source(card, path + "?variant=thumbnail");
      look.src = await source(card, path);
    } catch (e) {
      card.stage.replaceChildren(make("p", { textContent: e.message }));
      lookAt(v.id).catch(() => {});
    }
  };
  look.onerror = () => lookAt(v.id).catch(() => {}); // deleted elsewhere?
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
  const v = card.video, open = isOpen(v);
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
      const secs = Number(v.seconds).toFixed(1), c = v.chosen;
      const best = c ? `, best of ${c.of}: shows ${c.facts_shown} of ${c.facts_asked} facts` : "";
      parts.push(make("p", { className: "facts", textContent: `${(v.size || "").replace("x", " × ")}, ${secs} s, made in ${Number(v.inference_time_s).toFixed(1)} s, seed ${v.seed}${best}` }));
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
  if (role) startFrom(card.video, role, card.stage.querySelector("video,img")?.src || "");
  else makeAgain(card.video);
  $("prompt").focus();
  $("compose").scrollIntoView({ block: "nearest" });
}

async function download(card) {
  const v = card.video;
  try {
    const a = make("a", { href: await source(card, `/v1/videos/${v.id}/content`), download: `reelm-${v.seed}.${v.format}` });
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
    list.push(["Download", () => download(card)]);
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
  forget(id);
  say("Deleted");
}

// The card of a clip that is no longer there.
function forget(id) {
  const card = cards.get(id);
  if (!card) return;
  const next = card.li.nextElementSibling || card.li.previousElementSibling;
  const held = card.li.contains(document.activeElement);
  clearInterval(card.timer);
  release(card);
  loseClip(id);
  card.li.remove();
  cards.delete(id);
  gone.add(id);
  $("empty").hidden = cards.size > 0;
  if (held) (next?.querySelector("button") || $("prompt")).focus();
}

/* ---- Following the jobs ---- */

// Frames of a preview strip join those before and play in a loop until the clip is there.
async function preview(card, p) {
  const strip = make("img", { src: p.image });
  await strip.decode();
  if (!isOpen(card.video)) return;
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
  if (!card) return;
  if (name === "status") show(data);
  if (name === "progress" && isOpen(card.video)) show({ ...card.video, ...data, id, status: "in_progress" });
  if (name === "preview") preview(card, data).catch(() => {});
  if (name === "end" && data.reason === "deleted") forget(id);
  if (name === "end" && data.reason !== "server_stopping") wake();
}

// Browsers hold six connections to a server, over all tabs, and a stream of events keeps one: a tab
// that is seen listens to one job, that in work or the next. The list tells of the others.
const EVERY = 3000;
let ear = null; // {id, stop}

function listen() {
  const rank = (v) => (v.status === "in_progress" ? -1 : v.queue_position ?? Infinity);
  const open = document.hidden ? [] : openOnes().map((card) => card.video);
  const id = open.sort((a, b) => rank(a) - rank(b))[0]?.id;
  if (ear?.id === id) return;
  ear?.stop.abort();
  ear = id ? { id, stop: new AbortController() } : null;
  if (ear) hear(ear);
}

// Server-sent events over fetch, so that a key can go along.
async function hear(own) {
  try {
    const answer = await call(`/v1/videos/${own.id}/events`, { signal: own.stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const name = /^event: (.*)$/m.exec(block), data = /^data: (.*)$/m.exec(block);
        if (name && data) heard(own.id, name[1], JSON.parse(data[1]));
      }
    }
  } catch { /* what has become of job and server, the next look at the list tells */ }
  if (ear === own) ear = null;
}

let watching = false, wake = () => {};

async function watch() {
  if (watching) return wake();
  watching = true;
  do {
    try {
      await look();
      lost("");
    } catch (e) {
      lost(e.status ? e.message : "The connection is lost.");
    }
    listen();
    await new Promise((done) => { wake = done; setTimeout(done, EVERY); });
  } while (openOnes().length || $("lost").textContent);
  watching = false;
}

function lost(why) {
  if (!why && $("lost").textContent) say("Connected again");
  $("lost").textContent = why && why + " Trying again …";
}

// The list as the server has it now, as far down as there are jobs to come.
async function look() {
  const rows = [...$("gallery").children].map((li) => li.dataset.id);
  const last = rows.findLastIndex((id) => isOpen(cards.get(id).video));
  const { data, has_more: more } = await json(`/v1/videos?limit=${Math.min(100, last + 10)}`, { signal: AbortSignal.timeout(20000) });
  const listed = new Set(data.map((v) => v.id));
  const end = more ? rows.findLastIndex((id) => listed.has(id)) + 1 : rows.length;
  for (const id of rows.slice(0, end)) if (!listed.has(id)) forget(id);
  showNew(data, rows);
  for (const id of rows.slice(end)) if (cards.has(id) && isOpen(cards.get(id).video)) await lookAt(id);
}

// Clips of other tabs and clients come in where they belong, those older than the list shown do not.
function showNew(data, rows) {
  let below = null;
  for (const v of [...data].reverse()) {
    const known = cards.get(v.id);
    if (known ? v.id !== ear?.id || !isOpen(v) : (below || !rows.length) && !gone.has(v.id)) show(v, below);
    below = cards.get(v.id)?.li || below;
  }
}

async function lookAt(id) {
  try {
    show(await json(`/v1/videos/${id}`));
  } catch (e) {
    if (e.status !== 404 && e.status !== 410) throw e;
    forget(id);
  }
}

async function load() {
  const after = $("gallery").lastElementChild?.dataset.id;
  try {
    const page = await json(`/v1/videos?limit=24${after ? "&after=" + after : ""}`);
    for (const v of page.data) show(v);
    $("older").hidden = !page.has_more;
  } catch (e) {
    if (!after || (e.status !== 404 && e.status !== 410)) throw e;
    forget(after); // deleted elsewhere
    return load();
  }
  if (openOnes().length) watch();
}
