// The case shown: its picture in one plane or three, and the slice that is looked at.
const on = { given: true, proposal: true, network: false, suspicion: true, weights: false };
// at: position in the block along slices, rows, columns; main: the axis across which the large picture is cut;
// ring: where a finding is, if one was clicked.
const state = { key: "rank", down: false, current: null, order: [], block: null, at: [0, 0, 0], main: 0, ring: null, errors: null };

async function select(row) {
  state.current = row;
  showCase(row);
  const block = await blockOf(row);
  if (state.current !== row) return;
  Object.assign(state, { block, main: 0, ring: null, errors: errorsAlong(block) });
  const shown = row.pictures.slices.map(number => row.pictures.errors_mm3[number]);
  state.at = [largest(shown), largest(state.errors[1]), largest(state.errors[2])];
  for (const small of document.querySelectorAll("#stage .small")) small.hidden = !block.volume;
  $("stage").classList.toggle("three", block.volume);
  draw();
  document.body.dataset.ready ||= Math.round(performance.now());
}

// Numbers of the positions along the main axis, and the expected error at each number; of slices also those not pictured.
function numbers() {
  const { pictures } = state.current;
  return state.main ? state.errors[state.main].map((_, k) => k) : pictures.slices;
}
const errorsShown = () => state.main ? state.errors[state.main] : state.current.pictures.errors_mm3;

function goTo(position) {
  const last = state.block.size[state.main] - 1;
  state.at[state.main] = Math.max(0, Math.min(last, position));
  draw();
}

function goToNumber(number) {
  const known = numbers();
  goTo(known.reduce((best, one, k) => Math.abs(one - number) < Math.abs(known[best] - number) ? k : best, 0));
}

function goToRegion(region) {
  state.main = 0;
  goToNumber(region.worst_slice);
  state.ring = placeOf(state.block, state.at[0], region);
  if (state.ring) state.at = [...state.ring];
  draw();
}

const bigCanvas = $("view");
const smallFigures = [$("small-1"), $("small-2")];

function draw() {
  if (!state.block) return;
  const { block } = state, others = [0, 1, 2].filter(axis => axis !== state.main);
  const main = planeOf(block, state.main);
  drawPlane(bigCanvas, main);
  if (block.volume) smallFigures.forEach((figure, k) => {
    const plane = planeOf(block, others[k]);
    drawPlane(figure.querySelector("canvas"), plane);
    const words = plane.name || `plane ${others[k] + 1}`;
    figure.querySelector("button").textContent = `${words}: enlarge`;
    figure.querySelector("canvas").setAttribute("aria-label", `${state.current.case}, ${words}`);
  });
  showWhere(main);
  drawStrip();
}

function showWhere(plane) {
  const number = numbers()[state.at[state.main]], score = state.current.slice_scores[number];
  const error = ml(errorsShown()[number]);
  const says = state.main ? capital(`${plane.name || "plane"} ${number}`) : `Slice ${number}${plane.name ? `, ${plane.name}` : ""}`;
  const judged = state.main || score === null ? "" : `, score ${dice(score)}`;
  $("where").textContent = `${says}${judged}, expected error ${error}`;
  const visible = [...Object.keys(on).filter(name => on[name]), ...structures.filter(one => one.on).map(one => one.name)];
  bigCanvas.setAttribute("aria-label", `${state.current.case}, ${says}, with ${visible.join(", ")}`);
}

function drawPlane(canvas, plane) {
  const { block, at } = state, figure = canvas.parentElement, ratio = window.devicePixelRatio || 1;
  const [wide, high] = [plane.width * plane.mm[0], plane.height * plane.mm[1]];
  const scale = Math.min(figure.clientWidth / wide, figure.clientHeight / high);
  const [w, h] = [Math.max(1, Math.floor(wide * scale)), Math.max(1, Math.floor(high * scale))];
  canvas.width = w * ratio;
  canvas.height = h * ratio;
  canvas.style.width = `${w}px`;
  canvas.style.height = `${h}px`;
  const pen = canvas.getContext("2d"), indices = indicesOf(block, plane, at);
  pen.scale(ratio, ratio);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(greyOf(block, plane, indices), 0, 0, w, h);
  drawLayers(pen, block, plane, indices, w / plane.width, h / plane.height);
  drawMarks(pen, plane, w, h);
}

function greyOf(block, plane, indices) {
  const canvas = element("canvas", { width: plane.width, height: plane.height }), pen = canvas.getContext("2d");
  const image = pen.createImageData(plane.width, plane.height);
  indices.forEach((index, k) => {
    image.data[4 * k] = image.data[4 * k + 1] = image.data[4 * k + 2] = block.grey[index];
    image.data[4 * k + 3] = 255;
  });
  pen.putImageData(image, 0, 0);
  return canvas;
}

function drawLayers(pen, block, { width, height }, indices, kx, ky) {
  const code = (layer, x, y) => CODES[layer](block.codes, indices[y * width + x]);
  if (on.suspicion) fill(pen, HATCH, (x, y) => {
    const level = code("suspicion", x, y) / 15;
    return level < .2 ? 0 : .2 + .55 * level;
  }, width, height, kx, ky);
  if (on.weights) RULED.forEach((pattern, upright) => fill(pen, pattern, (x, y) => {
    const step = code("weights", x, y);
    return step === 0 || step === 8 || (step < 8) !== Boolean(upright) ? 0 : .25 + .75 * Math.abs(step - 8) / 7;
  }, width, height, kx, ky));
  const letters = [];
  for (const layer of ["network", "given", "proposal"]) if (on[layer]) for (const one of structures) if (one.on) {
    const lines = outlines((x, y) => one.values.has(code(layer, x, y)), width, height);
    if (!lines.length) continue;
    stroke(pen, pathOf(lines, kx, ky), layer, one.colour);
    letters.push([one, lines.reduce((best, line) => line.length > best.length ? line : best)]);
  }
  if (structures.length > 1) for (const [one, line] of new Map(letters)) drawLetter(pen, one, line, kx, ky);
}

// At the topmost point of the longest line of a structure.
function drawLetter(pen, { letter, colour }, line, kx, ky) {
  const [x, y] = line.reduce((best, point) => point[1] < best[1] ? point : best);
  badge(pen, letter, colour, Math.max(8, x * kx), Math.max(8, y * ky));
}

function badge(pen, letter, colour, x, y) {
  pen.fillStyle = "#000";
  pen.beginPath();
  pen.arc(x, y, 8, 0, 7);
  pen.fill();
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 1.2;
  pen.stroke();
  text(pen, letter, x, y + .5, "center");
}

function text(pen, words, x, y, align) {
  pen.font = "600 11px system-ui, sans-serif";
  pen.textAlign = align;
  pen.textBaseline = "middle";
  pen.fillText(words, x, y);
}

// The patient's sides, the places of the other planes, and the ring around a finding.
function drawMarks(pen, plane, w, h) {
  const [x, y] = plane.pixel(state.at).map((value, k) => (value + .5) * (k ? h / plane.height : w / plane.width));
  if (state.block.volume) {
    pen.fillStyle = "rgba(255,255,255,.55)";
    for (const [a, b, c, d] of [[x - .5, 0, 1, y - 9], [x - .5, y + 9, 1, h], [0, y - .5, x - 9, 1], [x + 9, y - .5, w, 1]])
      if (c > 0 && d > 0) pen.fillRect(a, b, c, d);
  }
  if (state.ring && state.ring[plane.fixed] === state.at[plane.fixed]) {
    const [p, q] = plane.pixel(state.ring).map((value, k) => (value + .5) * (k ? h / plane.height : w / plane.width));
    for (const [colour, width] of [["#000", 5], ["#fff", 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(p, q, 14, 0, 7);
      pen.stroke();
    }
  }
  pen.shadowColor = "#000";
  pen.shadowBlur = 3;
  pen.fillStyle = "#fff";
  const { top, bottom, left, right } = plane.edges;
  for (const [letter, a, b] of [[top, w / 2, 9], [bottom, w / 2, h - 8], [left, 9, h / 2], [right, w - 9, h / 2]]) text(pen, letter, a, b, "center");
  pen.shadowBlur = 0;
}

// Bars of the expected error in every slice, above the slider of the same width.
function drawStrip() {
  const errors = errorsShown(), known = new Set(numbers()), now = numbers()[state.at[state.main]];
  const most = Math.max(...errors, 1e-9), box = element("svg", { viewBox: `0 0 ${errors.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": "Expected error of every slice" });
  errors.forEach((error, k) => {
    const tall = error > 0 ? Math.max(4, error / most * 100) : 0;
    const kind = k === now ? "now" : known.has(k) ? "" : "pale";
    box.append(element("rect", { class: kind, x: k + .1, width: .8, y: 100 - tall, height: tall }));
    const hit = element("rect", { class: "hit", x: k, width: 1, y: 0, height: 100 }, element("title", {}, `slice ${k}: ${ml(error)}${known.has(k) ? "" : ", not pictured"}`));
    hit.onclick = () => goToNumber(k);
    box.append(hit);
  });
  $("strip").replaceChildren(box);
  $("slice").max = errors.length - 1;
  $("slice").value = now;
  $("slice").setAttribute("aria-valuetext", `slice ${now}`);
  $("strip-says").textContent = state.main ? "" : `${known.size} of ${errors.length} slices pictured`;
}
