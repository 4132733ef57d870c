// The form: files given, fields, and the request that they amount to.
"use strict";

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
let offers = []; // clips made by reelm, before it is said what they are for: {file, settings}
// The clip that is made again: the server takes its settings and files along.
let base = null; // {id, inputs, settings, was: fields() as they were filled from it}

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
  complain("");
  for (const file of files) {
    const settings = await readSettings(file).catch(() => null);
    if (settings) offers.push({ file, settings });
    else takeFile(file);
  }
  $("files").value = "";
  showGiven();
}

function takeFile(file) {
  const kind = kindOf(file), max = props.limits.max_upload_bytes;
  if (!kind) return complain(`${file.name} is no picture, video or sound that can be read here.`);
  if (max && file.size > max)
    return complain(`${file.name} is larger than this server takes (${Math.round(max / 1048576)} MB).`);
  if (kind === "video")
    for (const g of given) if (g.kind === "image" && g.role === "start") g.role = "mask";
  give({ kind, role: guessRole(kind), file, name: file.name, url: URL.createObjectURL(file) });
}

function useSettings(settings) {
  base = null;
  fillForm(settings);
  if (settings.mask_boxes || settings.outpaint || settings.sound_spans)
    complain("It was made from a video or picture: give that again.");
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
}

// Nothing given, no clip to make again.
function giveNothing() {
  base = null;
  offers = [];
  for (const g of [...given]) drop(g);
  showGiven();
}

// The clip with that id is no longer there to be used.
function loseClip(id) {
  if (base?.id !== id && !given.some((g) => g.id === id)) return;
  if (base?.id === id) base = null;
  given = given.filter((g) => g.id !== id);
  showGiven();
}

function givenRow(look, name, what, remove) {
  look.className = "look";
  const off = make("button", { type: "button", textContent: "✕", ariaLabel: "Remove " + name });
  off.addEventListener("click", () => { remove(); $("files").focus(); });
  return make("li", {}, look, make("div", {}, make("div", { className: "name", textContent: name }), what), off);
}

function baseRow() {
  const files = base.inputs.length;
  const text = files ? `its settings and ${files === 1 ? "its file" : `its ${files} files`}` : "its settings";
  return givenRow(make("span", { textContent: "↻" }), "that clip again", text, () => { base = null; showGiven(); });
}

function fileRow(g) {
  const look = g.kind === "image" ? make("img", { src: g.url, alt: "" })
    : g.kind === "video" ? make("video", { src: g.url, muted: true, preload: "metadata" })
      : make("span", { textContent: "♪" });
  const role = make("select", { ariaLabel: "Use " + g.name + " as" },
    ...ROLES[g.kind].map(([value, text]) => new Option(text, value, false, value === g.role)));
  role.addEventListener("change", () => { g.role = role.value; plan(); });
  return givenRow(look, g.name, role, () => drop(g));
}

// Only people know whether a clip made by reelm is given for its settings or for itself.
function offerRow(offer) {
  const { file, settings } = offer, kind = { image: "picture", audio: "sound" }[kindOf(file)] || kindOf(file);
  const then = (todo) => () => {
    offers = offers.filter((x) => x !== offer);
    todo();
    showGiven();
    ($("given").querySelector("select, button") || $("prompt")).focus();
  };
  const choices = acts(["Use its settings", then(() => useSettings(settings))],
    ...(kind ? [["Use the " + kind, then(() => takeFile(file))]] : []));
  return givenRow(make("span", { textContent: "?" }), file.name, choices, then(() => {}));
}

function showGiven() {
  $("given").replaceChildren(...(base ? [baseRow()] : []), ...given.map(fileRow), ...offers.map(offerRow));
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

const NUMBERS = ["temperature", "top_k", "top_p", "min_p", "best_of", "fps"];
const EDITS = ["mask_box", "outpaint", "sound_spans"];
const STEPS = { seconds: 0.125, guidance: 0.1 };

function complain(text) {
  $("complaint").textContent = text;
}

// What the form amounts to: where it goes, under which fields, and a sentence about it.
function plan() {
  const by = (role) => given.find((g) => g.role === role);
  const words = $("prompt").value.trim();
  const editing = by("edit"), box = $("mask_box").value.trim(), out = $("outpaint").value.trim();
  const spans = props.has_sound && $("sound_spans").value.trim();
  $("edit-fields").hidden = !given.some((g) => g.kind !== "audio") && !base?.inputs.includes("condition");
  let url = "/v1/videos", task = "", line = "Makes a clip" + (props.has_sound && $("sound").checked ? " with sound" : "") + " from your words.";
  if (base) {
    url = `/v1/videos/${base.id}/remix`;
    line = "Makes that clip again, with what you change here.";
  } else if (by("continue")) {
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
  $("go").disabled = !words && !given.length && !base?.inputs.length;
  return { url, task };
}

// The fields of the API as the form has them; "": not set.
function fields() {
  const size = $("size").value, f = {
    prompt: $("prompt").value.trim(),
    negative_prompt: $("negative").value.trim(),
    size: size === "other" ? `${$("width").value}x${$("height").value}` : size,
    seconds: $("format").value === "png" ? "" : $("seconds").value,
    seed: $("seed").value,
    guidance_scale: $("guidance").value,
    generate_sound: String($("sound").checked),
    output_format: $("format").value,
  };
  for (const name of NUMBERS) f[name] = $(name).value;
  for (const name of EDITS) f[name] = $(name).value.trim();
  return f;
}

// Of a new clip, all that is set.
function newFields(task) {
  const f = { ...fields(), task };
  if ($("edit-fields").hidden) for (const name of EDITS) f[name] = "";
  if (!given.some((g) => g.role === "edit" || g.role === "sound")) f.sound_spans = "";
  return Object.entries(f).filter(([, value]) => value !== "");
}

// Of a clip made again, what was changed: sliders and roundings of the form must not change the rest.
function changedFields() {
  const now = fields(), f = { prompt: now.prompt, seed: now.seed || "-1" };
  if (now.prompt === base.was.prompt && base.settings.prompts) f.prompts = base.settings.prompts;
  for (const [name, value] of Object.entries(now))
    if (value !== base.was[name]) f[name] ??= value || props.defaults[name];
  if (!now.negative_prompt && base.was.negative_prompt) f.negative_prompt = "";
  return Object.entries(f).filter(([, value]) => value !== undefined);
}

function collect() {
  const { url, task } = plan(), body = new FormData();
  for (const [name, value] of base ? changedFields() : newFields(task)) body.append(name, value);
  for (const g of given) {
    const field = ROLES[g.kind].find(([value]) => value === g.role)[2];
    if (g.file) body.append(field, g.file, "upload");
    else body.append(field + "[id]", g.id);
  }
  return { url, body };
}

async function submit() {
  if (offers.length) return complain(`Say what ${offers[0].file.name} is for, or remove it.`);
  const { url, body } = collect();
  complain("");
  $("go").disabled = true;
  try {
    const video = await json(url, { method: "POST", body });
    show(video, $("gallery").firstChild);
    watch();
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

// A slider's range is for hands: what a clip has stays as it is.
function slide(id, value) {
  const e = $(id);
  e.max = Math.max(e.max, value);
  e.min = Math.min(e.min, value);
  e.step = STEPS[id];
  e.value = value;
  if (Number(e.value) === value) return;
  e.step = "any";
  e.value = value;
}

// From the settings of a job (API names) or of a file (`reelm metadata`); what they do not name is
// as at first.
function fillForm(s) {
  $("compose").reset();
  setValue("prompt", s.prompt);
  setValue("negative", s.negative_prompt);
  fillSize(s.width || Number((s.size || "").split("x")[0]), s.height || Number((s.size || "").split("x")[1]));
  const fps = s.fps || props.defaults.fps || 8;
  const seconds = s.seconds || (s.num_frames || s.frames || 0) / fps;
  if (seconds) slide("seconds", Number(seconds));
  setValue("seed", s.seed);
  slide("guidance", s.guidance_scale ?? s.cfg_scale ?? props.defaults.guidance_scale ?? 4.5);
  for (const name of NUMBERS) setValue(name, round(s[name]));
  if (s.generate_sound !== undefined) $("sound").checked = s.generate_sound === true || s.generate_sound === "true";
  if (s.audio !== undefined) $("sound").checked = s.audio === true;
  if (s.output_format) $("format").value = s.output_format;
  const boxes = (s.mask_boxes || []).map((b) => b.replace(/@(\d+)-(\d+)$/, (_, from, last) => `@${from}-${Number(last) + 1}`));
  setValue("mask_box", s.mask_box || boxes.join(";")); // a file names the last frame, the API the one behind
  setValue("outpaint", s.outpaint);
  setValue("sound_spans", [].concat(s.sound_spans || []).join(";"));
  refresh();
}

function fillSize(width, height) {
  if (!width || !height) return;
  const size = `${width}x${height}`;
  const known = [...$("size").options].some((o) => o.value === size);
  $("size").value = known ? size : "other";
  setValue("width", width);
  setValue("height", height);
}

// The form as that clip had it, to make it once more.
function makeAgain(v) {
  giveNothing();
  fillForm({ ...v.settings, prompt: v.prompt, size: v.size, seed: v.seed });
  base = { id: v.id, inputs: v.inputs || [], settings: v.settings || {}, was: fields() };
  showGiven();
}

// A clip as what the next one starts from; what changed it is no wish for the next.
function startFrom(v, role, url) {
  const still = v.format === "png", s = { ...v.settings, prompt: v.prompt, size: v.size, seed: "" };
  giveNothing();
  for (const name of EDITS) delete s[name];
  if (still) Object.assign(s, { output_format: "mp4", num_frames: props.defaults.num_frames });
  fillForm(s);
  give({ kind: still ? "image" : "video", role: still ? "start" : role, id: v.id, name: "that clip", url });
}

const round = (v) => (typeof v === "number" ? Math.round(v * 1000) / 1000 : v);

function refresh() {
  $("seconds-out").textContent = Number($("seconds").value).toFixed(1);
  $("guidance-out").textContent = Number($("guidance").value).toFixed(1);
  $("other-size").hidden = $("size").value !== "other";
  plan();
}
