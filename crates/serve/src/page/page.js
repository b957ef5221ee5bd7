"use strict";
// The page is made from what the server says of each model: a form for rows, a canvas for pictures, a box for texts.

const find = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const shown = (number) => Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "–";
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 1 : 2)} %`;

let token = sessionStorage.getItem("kiln-token") || "";
let model = null;
let asked = 0; // The number of the last request: answers of earlier ones are late.
let current = null; // What ends the request that is under way.

const headers = (more = {}) => token ? { ...more, Authorization: `Bearer ${token}` } : more;

async function get(path) {
  const answer = await fetch(path, { headers: headers() });
  if (answer.status === 401) {
    find("token").hidden = false;
    find("secret").focus();
    throw new Error("a token is needed");
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error || answer.statusText);
  return said;
}

const address = () => `/models/${encodeURIComponent(model.name)}/predict`;

// Asks the model; what an earlier request answers is not shown any more.
async function ask(body, kind, read) {
  const number = ++asked;
  if (current) current.abort();
  current = new AbortController();
  find("answer").setAttribute("aria-busy", "true");
  try {
    const began = performance.now();
    const answer = await fetch(address(), { method: "POST", headers: headers({ "Content-Type": kind }), body, signal: current.signal });
    if (answer.ok && read) { await read(answer, () => number === asked); return; }
    const said = await answer.json();
    if (number !== asked) return;
    if (!answer.ok) throw new Error(said.error || answer.statusText);
    show(said, performance.now() - began);
  } catch (error) {
    if (number === asked && error.name !== "AbortError") fail(error);
  } finally {
    if (number === asked) find("answer").removeAttribute("aria-busy");
  }
}

function fail(error) {
  const offline = error instanceof TypeError ? "the server doesn't answer" : error.message;
  find("answer").replaceChildren(make("h2", { textContent: "No answer" }), make("p", { className: "error", textContent: offline }));
}

function bars(probabilities) {
  const all = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  const list = make("ul", { className: "bars" });
  for (const [name, share] of all.slice(0, 10)) {
    const meter = make("meter", { min: 0, max: 1, value: share });
    meter.setAttribute("aria-label", `${name}: ${percent(share)}`);
    list.append(make("li", {}, make("span", { textContent: name }), make("span", { textContent: percent(share) }), meter));
  }
  const more = all.length - 10;
  return more > 0 ? [list, make("p", { className: "note", textContent: `and ${more} less likely` })] : [list];
}

const inWords = (value) => typeof value === "number" ? shown(value) : String(value);

function parts(prediction, probabilities, interval, set) {
  const children = [make("p", { className: "said", textContent: inWords(prediction) })];
  if (interval) children.push(make("p", { className: "interval", textContent: `from ${shown(interval[0])} to ${shown(interval[1])}` }));
  if (set) children.push(make("p", { className: "interval", textContent: `the set that holds it: ${set.join(", ") || "none"}` }));
  if (probabilities) children.push(...bars(probabilities));
  return children;
}

function show(said, took) {
  const children = [make("h2", { textContent: "The model says" })];
  if (Array.isArray(said.words)) {
    const words = make("p", { className: "words" });
    for (const { word, tag } of said.words) {
      words.append(tag === "O" ? `${word} ` : make("span", {}, make("mark", { textContent: word }), make("small", { textContent: `${tag} ` })));
    }
    children.push(words);
  } else if (Array.isArray(said.predictions)) {
    children.push(...showSeries(said.predictions));
  } else if (said.prediction !== null && typeof said.prediction === "object" && !Array.isArray(said.prediction)) {
    for (const [name, value] of Object.entries(said.prediction)) {
      children.push(make("h3", { textContent: name }), ...parts(value, (said.probabilities || {})[name], (said.interval || {})[name], (said.set || {})[name]));
    }
  } else {
    children.push(...parts(said.prediction, said.probabilities, said.interval, said.set));
  }
  const whole = make("details", {}, make("summary", { textContent: `As programs get it, in ${took.toFixed(0)} ms` }), make("pre", { textContent: JSON.stringify(said, null, 1) }));
  children.push(whole);
  find("answer").replaceChildren(...children);
}

function field(column) {
  const label = make("span", { textContent: column.name });
  let input;
  if (column.kind === "choice" && column.choices.length <= 200) {
    input = make("select", {}, ...column.choices.map((word) => make("option", { value: word, textContent: word })), make("option", { value: "", textContent: "(missing)" }));
  } else if (column.kind === "number") {
    input = make("input", { type: "number", step: "any", value: shown(column.default), inputMode: "decimal" });
    label.append(make("small", { textContent: `${shown(column.low)} … ${shown(column.high)}` }));
    const range = make("input", { type: "range", min: column.low, max: column.high, step: "any", value: column.default });
    range.setAttribute("aria-label", `${column.name}, by a slider`);
    range.addEventListener("input", () => { input.value = shown(Number(range.value)); });
    input.addEventListener("input", () => { if (input.value !== "") range.value = input.value; });
    input.dataset.name = column.name;
    return make("label", { className: "field" }, label, input, range);
  } else {
    input = make("input", { type: column.kind === "date" ? "date" : "text" });
    if (column.choices) {
      const list = make("datalist", { id: `choices of ${column.name}` }, ...column.choices.map((word) => make("option", { value: word })));
      input.setAttribute("list", list.id);
      label.append(list);
    }
  }
  input.dataset.name = column.name;
  return make("label", { className: "field" }, label, input);
}

function formOfRows() {
  const submit = make("button", { type: "submit", textContent: "Predict" });
  const form = make("form");
  if (model.columns) {
    form.append(make("h2", { textContent: "A row" }), make("div", { className: "fields" }, ...model.columns.map(field)), submit);
    const row = () => {
      const row = {};
      for (const input of form.querySelectorAll("[data-name]")) {
        const { name } = input.dataset;
        row[name] = input.value === "" ? null : input.type === "number" ? Number(input.value) : input.value;
      }
      return row;
    };
    const predict = () => ask(JSON.stringify(row()), "application/json");
    let waits = 0;
    form.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(predict, 150); });
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waits); predict(); });
    predict();
  } else {
    const box = make("textarea", { spellcheck: false, placeholder: `${model.numbers} numbers with commas or spaces between them` });
    form.append(make("h2", { textContent: "A row" }), make("label", { className: "field" }, make("span", { textContent: `${model.numbers} numbers` }), box), make("p", { className: "row" }, submit));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask(JSON.stringify(box.value.split(/[\s,;]+/).filter(Boolean).map(Number)), "application/json");
    });
  }
  return [form];
}

// A canvas to draw on, in the colours that the model was trained on.
function formOfPictures() {
  const image = model.image || { dark: false };
  const canvas = make("canvas", { width: 280, height: 280, tabIndex: 0 });
  canvas.setAttribute("aria-label", "Draw here; with the keyboard the arrows move, and space draws");
  canvas.classList.toggle("light", !image.dark);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const ground = image.dark ? "#000" : "#fff";
  const ink = image.dark ? "#fff" : "#000";
  let last = null, place = [140, 140], draws = false, waits = 0;
  const clear = () => { pen.fillStyle = ground; pen.fillRect(0, 0, 280, 280); last = null; find("answer").replaceChildren(); };
  const send = () => { clearTimeout(waits); canvas.toBlob((blob) => blob && ask(blob, "image/png"), "image/png"); };
  const soon = () => { clearTimeout(waits); waits = setTimeout(send, 200); };
  const line = (from, to) => {
    pen.strokeStyle = ink; pen.lineWidth = 22; pen.lineCap = "round"; pen.lineJoin = "round";
    pen.beginPath(); pen.moveTo(...from); pen.lineTo(to[0] + 0.01, to[1]); pen.stroke();
  };
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * 280 / box.width, (event.clientY - box.top) * 280 / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = at(event); line(last, last); });
  canvas.addEventListener("pointermove", (event) => { if (last) { const next = at(event); line(last, next); last = next; } });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (last) { last = null; soon(); } });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    if (event.key === " ") { event.preventDefault(); draws = !draws; line(place, place); soon(); }
    if (!step) return;
    event.preventDefault();
    const next = [0, 1].map((axis) => Math.min(280, Math.max(0, place[axis] + step[axis])));
    if (draws) { line(place, next); soon(); }
    place = next;
  });
  const file = make("input", { type: "file", accept: "image/*" });
  const paint = (source, width, height) => {
    const scale = Math.min(280 / width, 280 / height);
    pen.fillStyle = ground; pen.fillRect(0, 0, 280, 280);
    pen.drawImage(source, (280 - width * scale) / 2, (280 - height * scale) / 2, width * scale, height * scale);
  };
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    ask(chosen, chosen.type || "application/octet-stream");
    try { const bitmap = await createImageBitmap(chosen); paint(bitmap, bitmap.width, bitmap.height); } catch { /* Shown or not, the server has read it. */ }
  });
  const video = make("video", { hidden: true, playsInline: true, muted: true });
  const camera = make("button", { type: "button", textContent: "Camera" });
  const stop = () => { (video.srcObject ? video.srcObject.getTracks() : []).forEach((track) => track.stop()); video.srcObject = null; video.hidden = true; canvas.hidden = false; camera.textContent = "Camera"; };
  camera.addEventListener("click", async () => {
    if (video.srcObject) { paint(video, video.videoWidth, video.videoHeight); stop(); send(); return; }
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      video.hidden = false; canvas.hidden = true; camera.textContent = "Take the picture";
      await video.play();
    } catch (error) { fail(new Error(`the camera can't be had: ${error.message}`)); }
  });
  // Browsers give cameras to pages of this machine and of https alone.
  camera.hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  const again = make("button", { type: "button", textContent: "Clear" });
  again.addEventListener("click", clear);
  const submit = make("button", { type: "button", className: "main", textContent: "Predict" });
  submit.addEventListener("click", send);
  clear();
  const choose = make("label", { className: "field" }, make("span", { textContent: "Or a file" }), file);
  return [make("h2", { textContent: "Draw, or choose a picture" }), canvas, video, make("p", { className: "row" }, submit, again, camera), choose];
}

function formOfTexts() {
  const box = make("textarea", { rows: 5 });
  const submit = make("button", { type: "submit", textContent: "Predict" });
  const form = make("form", {}, make("h2", { textContent: "A text" }), make("label", { className: "field" }, make("span", { textContent: model.column || "text" }), box), make("p", { className: "row" }, submit));
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(JSON.stringify({ text: box.value }), "application/json"); });
  return [form];
}

function formOfPrompts() {
  const box = make("textarea", { rows: 5, value: "" });
  const number = (name, value, step, max) => {
    const input = make("input", { type: "number", min: 0, max, step, value });
    return [input, make("label", { className: "field" }, make("span", { textContent: name }), input)];
  };
  const [tokens, tokensField] = number("pieces at most", 200, 1, 8192);
  const [temperature, temperatureField] = number("temperature", 0.8, 0.1, 5);
  const [seed, seedField] = number("seed", 7, 1, 1e9);
  const submit = make("button", { type: "submit", textContent: "Go on" });
  const stop = make("button", { type: "button", textContent: "Stop", disabled: true });
  stop.addEventListener("click", () => current && current.abort());
  const form = make("form", {}, make("h2", { textContent: "A text to go on with" }), make("label", { className: "field" }, make("span", { textContent: "text" }), box),
    make("div", { className: "fields row" }, tokensField, temperatureField, seedField), make("p", { className: "row" }, submit, stop));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = make("p", { className: "text" }, box.value);
    const note = make("p", { className: "note", textContent: "…" });
    find("answer").replaceChildren(make("h2", { textContent: "The model writes" }), text, note);
    stop.disabled = false;
    const request = { prompt: box.value, tokens: Number(tokens.value), temperature: Number(temperature.value), seed: Number(seed.value), stream: true };
    await ask(JSON.stringify(request), "application/json", (answer, isLast) => read(answer, text, note, isLast));
    stop.disabled = true;
  });
  return [form];
}

// Reads events as they come.
async function read(answer, text, note, isLast) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done || !isLast()) return;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const said = JSON.parse(event.replace(/^data: /, ""));
      if (said.text) text.append(make("b", { textContent: said.text }));
      if (said.error) note.textContent = said.error;
      if (said.done) note.textContent = `${said.tokens} pieces`;
    }
  }
}

// The table of a series so far, as a file or a text; what comes next is a table.
function formOfSeries() {
  const box = make("textarea", { rows: 8, spellcheck: false, placeholder: "the table so far, with a header" });
  const file = make("input", { type: "file", accept: ".csv,.tsv,.txt" });
  file.addEventListener("change", async () => { if (file.files[0]) box.value = await file.files[0].text(); });
  const submit = make("button", { type: "submit", textContent: "Forecast" });
  const form = make("form", {}, make("h2", { textContent: "Series" }), make("label", { className: "field" }, make("span", { textContent: "CSV" }), box),
    make("label", { className: "field" }, make("span", { textContent: "Or a file" }), file), make("p", { className: "row" }, submit));
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(box.value, "text/csv"); });
  return [form];
}

function showSeries(series) {
  const cell = (text) => make("td", { textContent: text });
  return series.flatMap(({ key, steps }) => [
    make("h3", { textContent: Object.values(key).join(", ") }),
    make("div", { className: "scroll" }, make("table", {}, ...steps.slice(0, 100).map(({ time, prediction, interval }) =>
      make("tr", {}, cell(time), cell(shown(prediction)), cell(interval ? `${shown(interval[0])} to ${shown(interval[1])}` : ""))))),
  ]);
}

const FORMS = { series: formOfSeries, rows: formOfRows, pictures: formOfPictures, texts: formOfTexts, prompts: formOfPrompts };

async function choose(name) {
  model = await get(`/models/${encodeURIComponent(name)}`);
  document.title = `${model.name} – kiln serve`;
  find("title").textContent = model.name;
  find("about").textContent = `version ${model.version}${model.layers ? `: ${model.layers}` : ""}`;
  find("report").hidden = !model.report || token !== ""; // A link brings no token.
  find("report").href = `/models/${encodeURIComponent(model.name)}/report`;
  find("answer").replaceChildren(...(model.troubles || []).map(({ error }) => make("p", { className: "error", textContent: `A newer file isn't served: ${error}` })));
  find("ask").replaceChildren(...FORMS[model.takes]());
}

async function start() {
  const { models } = await get("/models");
  find("token").hidden = true;
  const select = find("model");
  select.replaceChildren(...models.map(({ name }) => make("option", { value: name, textContent: name })));
  find("choose").hidden = models.length < 2;
  select.onchange = () => { location.hash = encodeURIComponent(select.value); choose(select.value).catch(fail); };
  const wanted = decodeURIComponent(location.hash.slice(1));
  select.value = models.some(({ name }) => name === wanted) ? wanted : models[0].name;
  await choose(select.value);
}

find("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = find("secret").value.trim();
  sessionStorage.setItem("kiln-token", token);
  start().catch(fail);
});
start().catch(fail);
