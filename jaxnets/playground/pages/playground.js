// The playground: what is set goes to the server, which trains; what it sends back is drawn.
import { drawChart, History } from "./charts.js";
import { announce, byId, copy, drawBytes, element, onTheme, reducedMotion, sharp, showError, shown, startTheme, variable, whole } from "./common.js";
import { Cloud } from "./cloud.js";
import { highlight } from "./code.js";
import { Connection, decodeFrame } from "./connection.js";
import { featureName, NetworkView } from "./network.js";

const TITLES = {
  circle: "Circle", xor: "XOR", gauss: "Clouds", spiral: "Spiral", plane: "Plane", "multi-gauss": "Bumps",
};
const EXAMPLES = {
  circle: "The course's circle", linear: "A linear layer cannot", xor: "XOR", gauss: "One neuron, two clouds",
  spiral: "Spiral", plane: "Regression: a plane", "multi-gauss": "Regression: six bumps", overfitting: "Overfitting",
};
const LAYER_COLORS = ["#0877bd", "#d1495b", "#2e8b57", "#8a5bc7", "#c77700", "#0f9aa8", "#7b8794"];

let welcome = null, settings = null, network = null, connection = null, points = null;
let frame = null, playing = false, showing = null, lastAnnounced = 0, opening = null;
const frames = []; // that have arrived and are not drawn yet, three at most: the server waits for the page
const losses = new History(), gradients = new History(), drawnAt = [];
startTheme();
const cloud = new Cloud(byId("cloud"), byId("cloud-words"));

// ---- What is set ----

function open(change = {}) {
  connection.say("open", { settings: { ...settings, ...change } });
}

function fillChoices() {
  const fill = (id, values, words = String) => byId(id).replaceChildren(...values.map((value) => element("option", { value: String(value) }, words(value))));
  fill("example", ["", ...Object.keys(welcome.examples)], (name) => EXAMPLES[name] ?? (name || "Your own"));
  fill("learning_rate", welcome.rates);
  fill("regularization_rate", welcome.regularization_rates);
  fill("activation", welcome.activations);
  fill("regularization", welcome.regularizations, (name) => ({ none: "none", l1: "L1", l2: "L2" })[name]);
  byId("goal").max = welcome.limits.epochs;
  byId("sets").replaceChildren(...Object.keys(welcome.sets).map((name) => {
    const radio = element("input", { type: "radio", name: "data", value: name, id: `data-${name}` });
    radio.addEventListener("change", () => open({ data: name }));
    const kind = welcome.regression.includes(name) ? "regression" : "classification";
    return element("label", { title: `${TITLES[name]}, ${kind}` }, radio, element("canvas", { "aria-hidden": "true", id: `set-${name}` }), TITLES[name]);
  }));
}

function bindControls() {
  for (const id of ["learning_rate", "regularization_rate"]) byId(id).addEventListener("change", () => open({ [id]: Number(byId(id).value) }));
  for (const id of ["activation", "regularization"]) byId(id).addEventListener("change", () => open({ [id]: byId(id).value }));
  for (const id of ["train_share", "noise", "batch_size"]) {
    byId(id).addEventListener("input", () => showSliders(Object.fromEntries([[id, Number(byId(id).value)]])));
    byId(id).addEventListener("change", () => open({ [id]: Number(byId(id).value) }));
  }
  for (const id of ["data_seed", "seed"]) byId(id).addEventListener("change", () => open({ [id]: byId(id).valueAsNumber }));
  byId("example").addEventListener("change", () => {
    const example = welcome.examples[byId("example").value];
    if (example) open(example);
  });
  byId("play").addEventListener("click", () => (playing ? connection.say("pause") : play()));
  byId("step").addEventListener("click", () => connection.say("step"));
  byId("reset").addEventListener("click", () => connection.say("reset"));
  byId("pace").addEventListener("change", () => connection.say("pace", { pace: Number(byId("pace").value) }));
  byId("goal").addEventListener("change", () => { if (playing) play(); });
  byId("more-layers").addEventListener("click", () => open({ hidden: [...settings.hidden, settings.hidden.at(-1) ?? 3] }));
  byId("fewer-layers").addEventListener("click", () => open({ hidden: settings.hidden.slice(0, -1) }));
  byId("show-test").addEventListener("change", drawPoints);
  byId("discrete").addEventListener("change", drawPictures);
  byId("weights").addEventListener("toggle", fillTable);
  byId("copy-link").addEventListener("click", () => copy(byId("link").value, byId("copy-link")));
  byId("copy-code").addEventListener("click", () => copy(byId("code").textContent, byId("copy-code")));
  byId("train-seeds").addEventListener("click", trainSeeds);
  byId("open-best").addEventListener("click", () => open(cloud.settingsOf("best")));
  byId("open-worst").addEventListener("click", () => open(cloud.settingsOf("worst")));
  addEventListener("hashchange", () => { if (location.hash.slice(1) !== byId("link").value.split("#")[1]) connection.say("open", { link: location.hash.slice(1) }); });
  addEventListener("resize", () => { drawPoints(); drawCurves(); });
  onTheme(() => { if (settings) { drawSets(); network.redraw(); drawPictures(); drawPoints(); drawCurves(); cloud.draw(); } });
}

const goal = () => Math.min(Math.max(1, Math.round(byId("goal").valueAsNumber || 1000)), welcome.limits.epochs);

function play() {
  connection.say("play", { goal: goal(), pace: Number(byId("pace").value) });
  setPlaying(true);
  announce("Training.");
}

function trainSeeds() {
  if (cloud.running) {
    connection.say("stop_seeds");
    cloud.stop();
  } else {
    cloud.start(settings, byId("new-points").checked);
    connection.say("seeds", { goal: goal(), new_points: byId("new-points").checked });
  }
  showSeedButtons();
}

function showSeedButtons() {
  byId("train-seeds").textContent = cloud.running ? "Stop" : `Train ${welcome.seeds} seeds`;
  byId("open-best").disabled = byId("open-worst").disabled = !cloud.complete;
}

function setPlaying(now) {
  playing = now;
  byId("play").setAttribute("aria-label", now ? "Pause" : "Play");
  byId("play").title = now ? "Pause" : "Play";
  byId("play-icon").setAttribute("d", now ? "M6 5h4v14H6zM14 5h4v14h-4z" : "M8 5v14l11-7z");
}

function choose(id, value) {
  const select = byId(id), words = String(value);
  if (![...select.options].some((option) => option.value === words)) select.append(element("option", { value: words }, words));
  select.value = words;
}

function showSliders(values) {
  if ("train_share" in values) byId("train_share-shown").textContent = `${Math.round(values.train_share * 100)} %`;
  if ("noise" in values) byId("noise-shown").textContent = String(Math.round(values.noise * 100));
  if ("batch_size" in values) byId("batch_size-shown").textContent = String(values.batch_size);
}

function showSettings() {
  for (const id of ["learning_rate", "regularization_rate", "activation", "regularization"]) choose(id, settings[id]);
  for (const id of ["train_share", "noise", "batch_size", "data_seed", "seed"]) byId(id).value = settings[id];
  showSliders(settings);
  byId(`data-${settings.data}`).checked = true;
  const { hidden } = settings;
  byId("layers").textContent = `${hidden.length} hidden ${hidden.length === 1 ? "layer" : "layers"}`;
  byId("more-layers").disabled = hidden.length >= welcome.limits.layers;
  byId("fewer-layers").disabled = hidden.length === 0;
  const same = (example) => Object.keys(example).every((name) => ["epochs"].includes(name) || String(example[name]) === String(settings[name]));
  byId("example").value = Object.keys(welcome.examples).find((name) => same(welcome.examples[name])) ?? "";
}

// ---- What the server says ----

const onMessage = {
  welcome(message) {
    welcome = message;
    if (!network) {
      network = new NetworkView(byId("network"), welcome, {
        onFeature: (name, on) => open({ features: Object.keys(welcome.features).filter((other) => (other === name ? on : settings.features.includes(other))) }),
        onLayers: (hidden) => open({ hidden }),
        onShow: (what) => { showing = what; drawPictures(); },
        onDetail: (words) => { byId("detail").textContent = words; },
      });
      fillChoices();
      bindControls();
      drawSets();
    }
    const link = location.hash.slice(1);
    opening = link ? "link" : null;
    if (link) connection.say("open", { link });
    else connection.say("open", { settings: settings ?? welcome.defaults });
  },
  opened(message) {
    if (opening !== "defaults") showError(null); // of a link that could not be opened
    opening = null;
    if (message.settings.epochs) byId("goal").value = message.settings.epochs;
    ({ settings, points } = { settings: message.settings, points: message.points });
    frame = showing = null;
    for (; frames.length; frames.pop()) connection.say("drawn");
    losses.clear();
    gradients.clear();
    cloud.stop();
    showSeedButtons();
    network.frame = null;
    network.build(settings);
    showSettings();
    drawPoints();
    const count = message.sizes.slice(1).reduce((sum, size, place) => sum + size * (message.sizes[place] + 1), 0);
    byId("size").textContent = `${whole(count)} parameters, ${points.train.length} training and ${points.test.length} test points`;
  },
  paused(message) {
    while (frames.length) draw();
    setPlaying(false);
    const address = `${location.origin}/#${message.link}`;
    history.replaceState(null, "", `#${message.link}`);
    byId("link").value = address;
    byId("link-epoch").textContent = whole(message.epoch);
    byId("fingerprint").textContent = message.fingerprint;
    byId("code").replaceChildren(...highlight(message.code));
    for (const split of ["train", "test"]) {
      byId(`${split}-loss`).title = message.exact[split].loss;
      byId(`${split}-loss`).dataset.exact = message.exact[split].loss;
    }
    byId("epoch").dataset.paused = message.epoch;
    fillTable();
    describeCharts();
    if (message.diverged) showError("The loss is no longer a finite number: the training diverged. A smaller learning rate helps.");
    announce(`Epoch ${whole(message.epoch)}. Test loss ${byId("test-loss").textContent}, training loss ${byId("train-loss").textContent}.`);
  },
  cloud(message) {
    cloud.add(message);
    if (message.done) announce(byId("cloud-words").textContent);
    showSeedButtons();
    connection.say("drawn");
  },
  error(message) {
    showError(message.message);
    if (opening === "link") {
      opening = "defaults";
      connection.say("open", { settings: welcome.defaults });
    } else if (settings) showSettings();
  },
};

function onFrame(buffer) {
  frames.push(buffer);
  if (document.hidden) draw();
  else if (frames.length === 1) requestAnimationFrame(draw);
}

function draw() {
  if (!frames.length) return;
  frame = decodeFrame(frames.shift(), welcome.pixels, welcome.small);
  if (frames.length) requestAnimationFrame(draw);
  if (frame.layers.length !== settings.hidden.length + 1) { connection.say("drawn"); return; }
  setPlaying(frame.playing);
  byId("epoch").textContent = whole(frame.epoch);
  for (const split of ["train", "test"]) {
    byId(`${split}-loss`).textContent = shown(frame[split].loss);
    byId(`${split}-accuracy`).textContent = "accuracy" in frame[split] ? `${((frame[split].accuracy ?? 0) * 100).toFixed(1)} % right` : "";
  }
  byId("bar-loss").textContent = shown(frame.test.loss);
  for (const [epoch, train, test, ...norms] of frame.trail) {
    losses.push(epoch, [train, test]);
    gradients.push(epoch, norms);
  }
  network.update(frame);
  drawPictures();
  drawCurves();
  countFrames();
  const acknowledge = () => connection.say("drawn");
  if (reducedMotion() && playing) setTimeout(acknowledge, 400);
  else acknowledge();
}

function countFrames() {
  const now = performance.now();
  drawnAt.push(now);
  while (drawnAt.length > 1 && drawnAt[0] < now - 2000) drawnAt.shift();
  if (playing && drawnAt.length > 10) {
    const rate = ((drawnAt.length - 1) * 1000) / (now - drawnAt[0]);
    byId("speed").textContent = `${rate.toFixed(0)} frames a second`;
    byId("speed").dataset.rate = rate.toFixed(1);
  }
  if (playing && now - lastAnnounced > 15000) {
    lastAnnounced = now;
    announce(`Epoch ${whole(frame.epoch)}, test loss ${shown(frame.test.loss)}.`);
  }
}

// ---- Pictures ----

function drawPictures() {
  if (!frame) return;
  network.discrete = byId("discrete").checked;
  const { pixels, small } = welcome;
  if (!showing) drawBytes(byId("plane"), frame.output, pixels, network.discrete);
  else if (showing.kind === "neuron") drawBytes(byId("plane"), frame.neuron(showing.index), small, network.discrete);
  else drawBytes(byId("plane"), network.features[showing.name], small, network.discrete);
  const words = !showing ? "Output of the network" : showing.kind === "neuron" ? showing.words : `Feature ${featureName(showing.name)}`;
  if (byId("shown").textContent !== words) byId("shown").textContent = words;
}

function scatter(canvas, rows, extent, { radius, square = false }) {
  const { context, width, height } = canvas;
  const [negative, neutral, positive] = ["--negative-point", "--neutral", "--positive-point"].map(variable);
  for (const [x1, x2, label] of rows) {
    const [x, y] = [((x1 + extent) / (2 * extent)) * width, ((extent - x2) / (2 * extent)) * height];
    context.beginPath();
    if (square) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    else context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = label < -0.05 ? negative : label > 0.05 ? positive : neutral;
    context.globalAlpha = 0.35 + 0.65 * Math.min(1, Math.abs(label));
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
}

function drawPoints() {
  if (!points) return;
  const canvas = sharp(byId("points")), radius = points.train.length > 500 ? 2.4 : 3.2;
  canvas.context.lineWidth = 1;
  canvas.context.strokeStyle = variable("--point");
  scatter(canvas, points.train, welcome.extent, { radius });
  canvas.context.strokeStyle = variable("--text");
  if (byId("show-test").checked) scatter(canvas, points.test, welcome.extent, { radius: radius - 0.6, square: true });
}

function drawSets() {
  for (const [name, rows] of Object.entries(welcome.sets)) {
    const canvas = sharp(byId(`set-${name}`));
    canvas.context.strokeStyle = "transparent";
    scatter(canvas, rows, welcome.extent, { radius: 1.3 });
  }
}

function drawCurves() {
  if (!losses.epochs.length) return;
  drawChart(byId("curves"), {
    series: [
      { points: losses.curve(0), color: variable("--curve-train") },
      { points: losses.curve(1), color: variable("--curve-test") },
    ],
  });
  const layers = settings.hidden.length + 1;
  drawChart(byId("gradients"), {
    series: Array.from({ length: layers }, (_, layer) => ({ points: gradients.curve(layer), color: LAYER_COLORS[layer], width: 1.8 })),
    floor: 1e-12,
  });
  const legend = byId("gradients-legend");
  if (legend.childElementCount !== layers) legend.replaceChildren(...Array.from({ length: layers }, () => element("span")));
  [...legend.children].forEach((entry, layer) => {
    entry.style.setProperty("--series", LAYER_COLORS[layer]);
    entry.textContent = `${layer + 1 === layers ? "output" : `layer ${layer + 1}`} ${shown(gradients.rows.at(-1)[layer], 4)}`;
  });
}

function fillTable() {
  if (byId("weights").open && network.frame) byId("weights-table").replaceChildren(network.table());
}

function describeCharts() {
  if (!losses.epochs.length) return;
  const [first, last] = [losses.rows[0], losses.rows.at(-1)];
  const words = (name, place) => `${name} from ${shown(first[place])} to ${shown(last[place])}`;
  byId("curves").setAttribute("aria-label", `Losses over ${whole(losses.epochs.at(-1))} epochs: ${words("test loss", 1)}, ${words("training loss", 0)}.`);
  byId("gradients").setAttribute("aria-label", `Norms of gradients: ${byId("gradients-legend").innerText.replaceAll("\n", ", ")}.`);
  const right = byId("test-accuracy").textContent;
  byId("picture").setAttribute("aria-label", `Output of the network over the plane${right ? `; of the test points ${right}` : ""}.`);
}

// ---- Begin ----

connection = new Connection({
  onMessage: (message) => onMessage[message.kind]?.(message),
  onFrame,
  onOpen: () => {},
  onClose: (event) => {
    setPlaying(false);
    if (event.code === 1013) return;
    showError("The server has ended. Start it again by: jaxnets playground. This page then goes on with the same settings.");
    setTimeout(() => connection.connect(), 2000);
  },
});
