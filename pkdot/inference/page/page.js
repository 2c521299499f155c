// The page of `pkdot serve`: sends a clip, and draws what comes back while it is computed. Text from data is text here,
// never markup.
"use strict";

const at = (id) => document.getElementById(id);
const COLOURS = ["#1f77b4", "#d1622b", "#3f8f3f", "#a05195", "#8c6d31", "#17939f", "#c2497d"];
const ONE = ""; // stands for the name of a modality where one file is all there is
const RECORDED = 6; // seconds of a clip from the camera, or as many as a window takes
let about = null, windows = [], sending = null, stream = null;

async function begin() {
  about = await (await fetch("/about")).json();
  at("simulated").hidden = !about.simulated;
  at("eyebrow").textContent = `${about.method} · ${about.title}`;
  document.title = `${about.simulated ? "SIMULATED: " : ""}${about.experiment}, student`;
  const faces = Object.values(about.takes).map((feature) => feature === "faces");
  at("camera").hidden = !(about.any ? faces.some(Boolean) : faces.every(Boolean));
  for (const id of ["one", "hint"]) at(id).hidden = about.any;
  at("files").hidden = !about.any;
  if (about.any) addFields();
  at("file").addEventListener("change", () => at("file").files.length && send({ [ONE]: at("file").files[0] }));
  droppable(document, at("drop"), (files) => about.any || send({ [ONE]: files[0] }));
  at("camera").addEventListener("click", () => useCamera().catch((error) => fail(`The camera cannot be used: ${error.message}`)));
  at("stop").addEventListener("click", stopCamera);
  at("video").addEventListener("timeupdate", draw);
  window.addEventListener("resize", draw);
}

function addFields() {
  at("fields").replaceChildren(...Object.keys(about.takes).map((name) => {
    const row = document.createElement("div"), label = document.createElement("label"), input = document.createElement("input");
    row.className = "field";
    label.textContent = name;
    label.htmlFor = input.id = `field-${name}`;
    Object.assign(input, { type: "file", name });
    row.append(label, input);
    droppable(row, row, (files) => (input.files = files));
    return row;
  }));
  at("files").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = [...at("fields").querySelectorAll("input")].filter((input) => input.files.length);
    if (chosen.length) send(Object.fromEntries(chosen.map((input) => [input.name, input.files[0]])));
    else fail("Choose a file for at least one modality.");
  });
}

function droppable(area, shown, take) {
  for (const kind of ["dragover", "dragleave", "drop"]) {
    area.addEventListener(kind, (event) => {
      event.preventDefault();
      shown.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files);
    });
  }
}

function faceOf() {
  return Object.keys(about.takes).find((name) => about.takes[name] === "faces");
}

function fail(reason) {
  at("problem").textContent = reason;
  at("problem").hidden = false;
}

async function send(files) {
  const name = Object.values(files).map((file) => file.name).join(", ");
  if (sending) sending.abort();
  const own = (sending = new AbortController());
  windows = [];
  at("problem").hidden = true;
  at("work").hidden = false;
  at("answer").textContent = "…";
  at("note").textContent = at("present").textContent = "";
  at("bars").replaceChildren();
  at("name").textContent = name;
  at("progress").removeAttribute("value");
  if (!stream) show(files[ONE] || files[faceOf()]);
  drawTrajectory();
  try {
    const headers = { Accept: "application/x-ndjson" };
    let body = files[ONE];
    if (body) headers["X-File-Name"] = encodeURIComponent(name).slice(-80);
    else {
      body = new FormData();
      for (const [modality, file] of Object.entries(files)) body.append(modality, file);
    }
    const answer = await fetch("/predict", { method: "POST", body, headers, signal: own.signal });
    if (!answer.ok) throw new Error((await answer.json()).error);
    await read(answer.body.getReader(), own);
  } catch (error) {
    if (own === sending && error.name !== "AbortError") fail(`${name}: ${error.message}`);
  }
  if (own === sending) {
    at("progress").value = 1;
    sending = null;
  }
}

async function read(reader, own) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done || own !== sending) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  }
}

function take(event) {
  if (event.event === "error") throw new Error(event.reason);
  if (event.event !== "window") return;
  windows.push(event);
  at("progress").value = event.share;
  at("note").textContent = event.note;
  if (event.present) at("present").textContent = `present: ${event.present.join(", ") || "nothing"}`;
  if (event.boxes.length && !stream) at("video").currentTime = event.boxes[Math.floor(event.boxes.length / 2)][0];
  if (event.answer) tell(event);
  drawTrajectory();
  draw();
}

function tell(event) {
  const answer = event.answer;
  at("when").textContent = `from ${event.start.toFixed(1)} s`;
  if (answer.probabilities) {
    at("answer").textContent = answer.prediction;
    at("bars").replaceChildren(...Object.entries(answer.probabilities).map(([name, p], number) => bar(number, name, p, 0, 1, `${Math.round(100 * p)} %`)));
    return;
  }
  const last = Object.entries(answer.values).map(([name, values]) => [name, values[values.length - 1]]);
  at("answer").textContent = last.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ");
  at("bars").replaceChildren(...last.map(([name, value], number) => bar(number, name, value, ...(about.ranges[name] || [-1, 1]), value.toFixed(2))));
}

function bar(place, name, value, low, high, text) {
  const row = document.createElement("div"), label = document.createElement("span"), meter = document.createElement("meter"), number = document.createElement("span");
  row.className = "bar";
  label.textContent = `● ${name}`;
  label.title = name;
  label.style.color = COLOURS[place % COLOURS.length];
  Object.assign(meter, { min: low, max: high, value });
  number.textContent = text;
  row.append(label, meter, number);
  return row;
}

function show(blob) {
  const video = at("video");
  if (video.src.startsWith("blob:")) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.hidden = !blob || !faceOf();
  if (!video.hidden) video.src = URL.createObjectURL(blob);
}

function draw() {
  const video = at("video"), canvas = at("boxes");
  canvas.width = video.clientWidth;
  canvas.height = video.clientHeight;
  const boxes = windows.flatMap((one) => one.boxes);
  if (!boxes.length || !video.videoWidth) return;
  const now = stream ? boxes[boxes.length - 1][0] : video.currentTime;
  const [time, left, top, right, bottom] = boxes.reduce((best, one) => (Math.abs(one[0] - now) < Math.abs(best[0] - now) ? one : best));
  if (Math.abs(time - now) > 1) return;
  const scale = canvas.width / video.videoWidth, pen = canvas.getContext("2d");
  pen.lineWidth = 3;
  pen.strokeStyle = "#ffd23f";
  pen.strokeRect(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale);
}

function lines() {
  const answered = windows.filter((one) => one.answer), found = new Map();
  const put = (name, time, value) => (found.get(name) || found.set(name, []).get(name)).push([time, value]);
  for (const one of answered) {
    if (one.answer.probabilities) for (const [name, p] of Object.entries(one.answer.probabilities)) put(name, one.start, p);
    else for (const [name, values] of Object.entries(one.answer.values)) values.forEach((value, i) => put(name, one.start + (i * (one.stop - one.start)) / values.length, value));
  }
  return found;
}

function drawTrajectory() {
  const found = lines(), chart = at("trajectory"), all = [...found.values()].flat();
  const times = all.map((one) => one[0]), classes = about.classes !== null;
  const end = Math.max(1, ...times), ranges = Object.values(about.ranges);
  const low = classes ? 0 : Math.min(-1, ...all.map((one) => one[1]), ...ranges.map((one) => one[0])), high = classes ? 1 : Math.max(1, ...all.map((one) => one[1]), ...ranges.map((one) => one[1]));
  const x = (time) => 45 + (735 * time) / end, y = (value) => 190 - (175 * (value - low)) / (high - low);
  const parts = [low, (low + high) / 2, high].flatMap((value) => [drawn("line", { x1: 45, x2: 780, y1: y(value), y2: y(value), class: "axis" }), drawn("text", { x: 38, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(1))]);
  parts.push(drawn("text", { x: 45, y: 210 }, "0 s"), drawn("text", { x: 780, y: 210, "text-anchor": "end" }, `${end.toFixed(1)} s`));
  [...found.values()].forEach((points, number) => {
    const stroke = COLOURS[number % COLOURS.length];
    parts.push(drawn("polyline", { points: points.map(([time, value]) => `${x(time)},${y(value)}`).join(" "), fill: "none", stroke, "stroke-width": 2 }));
    if (points.length < 60) points.forEach(([time, value]) => parts.push(drawn("circle", { cx: x(time), cy: y(value), r: 3, fill: stroke })));
  });
  chart.replaceChildren(...parts);
  at("legend").replaceChildren(...[...found.keys()].map((name, number) => {
    const entry = document.createElement("span");
    entry.textContent = `● ${name}`;
    entry.style.color = COLOURS[number % COLOURS.length];
    return entry;
  }));
}

function drawn(kind, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

async function useCamera() {
  stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
  at("stop").hidden = false;
  at("camera").hidden = true;
  at("work").hidden = false;
  at("video").hidden = false;
  at("video").srcObject = stream;
  await at("video").play();
  while (stream) {
    const clip = await record(stream);
    if (stream) await send({ [about.any ? faceOf() : ONE]: clip });
  }
}

function record(from) {
  return new Promise((resolve) => {
    const recorder = new MediaRecorder(from), parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => resolve(new File(parts, "camera.webm", { type: "video/webm" }));
    recorder.start();
    setTimeout(() => recorder.state === "recording" && recorder.stop(), 1000 * Math.max(RECORDED, about.seconds + 0.5));
  });
}

function stopCamera() {
  for (const track of stream ? stream.getTracks() : []) track.stop();
  stream = null;
  at("video").srcObject = null;
  at("stop").hidden = true;
  at("camera").hidden = false;
}

begin().catch((error) => fail(`The server does not answer: ${error.message}`));
