// Switches of layers and structures; every line in them is drawn by the function that draws the picture.
const drawnLayers = () => [...Object.entries(LINES), ...Object.entries(PATTERNS)].filter(([name]) => name !== "weights" || weighed);

function sample(width, paint) {
  const ratio = window.devicePixelRatio || 1, canvas = element("canvas", { class: "sample", width: width * ratio, height: 18 * ratio });
  canvas.style.width = `${width}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.fillStyle = "#333";
  pen.fillRect(0, 0, width, 18);
  paint(pen);
  return canvas;
}

function lineSample(layer, colour) {
  return sample(44, pen => {
    const path = new Path2D();
    path.moveTo(4, 9);
    path.lineTo(40, 9);
    stroke(pen, path, layer, colour);
  });
}

function patternSample(layer) {
  return sample(44, pen => {
    if (layer === "suspicion") fill(pen, HATCH, () => .75, 1, 1, 44, 18);
    else RULED.forEach((pattern, k) => {
      pen.fillStyle = pen.createPattern(pattern, "repeat");
      pen.fillRect(k * 23, 0, 21, 18);
    });
  });
}

function switchOf(attributes, sampled, words, key, change) {
  const box = element("input", { type: "checkbox", ...attributes });
  box.onchange = change;
  return element("label", { class: "switch" }, box, sampled, element("span", {}, words), ...(key ? [element("kbd", {}, String(key))] : []));
}

function showLegend() {
  const first = (structures.find(one => one.on) || structures[0] || { colour: COLOURS[0] }).colour;
  $("layers").replaceChildren(...drawnLayers().map(([name, { words, key }]) =>
    switchOf({ value: name }, name in LINES ? lineSample(name, first) : patternSample(name), words, key, () => toggle(name))));
  $("classes").replaceChildren(...structures.map(one => {
    const sampled = sample(22, pen => badge(pen, one.letter, one.colour, 11, 9));
    return switchOf({ value: one.name }, sampled, plain(one.name), null, () => toggleStructure(one));
  }));
  $("classes").hidden = $("classes-title").hidden = structures.length < 2;
  checkSwitches();
}

function checkSwitches() {
  for (const box of $("layers").querySelectorAll("input")) box.checked = on[box.value];
  structures.forEach((one, k) => { $("classes").querySelectorAll("input")[k].checked = one.on; });
}

function toggle(layer) {
  on[layer] = !on[layer];
  checkSwitches();
  draw();
}

function toggleStructure(one) {
  one.on = !one.on;
  const focused = structures.indexOf(one);
  showLegend();
  $("classes").querySelectorAll("input")[focused].focus();
  draw();
}
