// Lines and hatches: one function for picture and legend, so that the legend shows them as they are drawn.
const LINES = {
  given: { dash: [], width: 2.4, words: "given label, solid", key: 1 },
  proposal: { dash: [8, 5], width: 2.4, words: "proposal, dashed", key: 2 },
  network: { dash: [.1, 5], width: 2.6, words: "network, dotted", key: 3 },
};
const PATTERNS = {
  suspicion: { words: "suspicion, hatched", key: 4 },
  weights: { words: "weights, lined", key: 5 },
};

function stroke(pen, path, layer, colour) {
  const { dash, width } = LINES[layer];
  pen.setLineDash(dash);
  pen.lineCap = layer === "network" ? "round" : "butt";
  pen.lineJoin = "round";
  pen.strokeStyle = "rgba(0,0,0,.75)";
  pen.lineWidth = width + 2;
  pen.stroke(path);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke(path);
  pen.setLineDash([]);
}

// The closed lines around the pixels that are inside, as lists of points in pixels: clockwise, through the middles of
// the edges, so that a staircase of single pixels becomes a slope.
function outlines(inside, width, height) {
  const across = width + 1, ways = new Uint8Array(across * (height + 1));  // bits: east, south, west, north
  const is = (x, y) => x >= 0 && y >= 0 && x < width && y < height && inside(x, y);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (inside(x, y)) {
    if (!is(x, y - 1)) ways[y * across + x] |= 1;
    if (!is(x + 1, y)) ways[y * across + x + 1] |= 2;
    if (!is(x, y + 1)) ways[(y + 1) * across + x + 1] |= 4;
    if (!is(x - 1, y)) ways[(y + 1) * across + x] |= 8;
  }
  const steps = [1, across, -1, -across], found = [];
  for (let start = 0; start < ways.length; start++) while (ways[start]) {
    const line = [];
    let at = start, way = [0, 1, 2, 3].find(one => ways[at] & 1 << one);
    while (way !== undefined) {
      ways[at] &= ~(1 << way);
      const [x, y] = [at % across, Math.floor(at / across)];
      line.push([x + [.5, 0, -.5, 0][way], y + [0, .5, 0, -.5][way]]);
      at += steps[way];
      way = [1, 0, 3, 2].map(turn => (way + turn) % 4).find(one => ways[at] & 1 << one);  // right, straight on, left
    }
    found.push(line);
  }
  return found;
}

function pathOf(lines, kx, ky) {
  const path = new Path2D();
  for (const line of lines) {
    line.forEach(([x, y], k) => k ? path.lineTo(x * kx, y * ky) : path.moveTo(x * kx, y * ky));
    path.closePath();
  }
  return path;
}

function tile(side, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  paint(canvas.getContext("2d"));
  return canvas;
}

// Thin slanted lines with the image between them, light on dark, so that they stand out on any tissue.
const HATCH = tile(8, pen => {
  for (const [colour, width] of [["#3d0022", 3], ["#ff5fa8", 1.6]]) for (const shift of [-8, 0, 8]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(shift - 2, 10);
    pen.lineTo(shift + 10, -2);
    pen.stroke();
  }
});
const RULED = [true, false].map(flat => tile(6, pen => {
  for (const [colour, shift] of [["#000", 0], ["#fff", 1.5]]) {
    pen.fillStyle = colour;
    if (flat) pen.fillRect(0, shift, 6, 1.5); else pen.fillRect(shift, 0, 1.5, 6);
  }
}));

// Fills pixels with a pattern; alphaAt(x, y) says how strongly, 0 not at all.
function fill(pen, pattern, alphaAt, width, height, kx, ky) {
  pen.fillStyle = pen.createPattern(pattern, "repeat");
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const alpha = alphaAt(x, y);
    if (!alpha) continue;
    const [left, top] = [Math.round(x * kx), Math.round(y * ky)];
    pen.globalAlpha = alpha;
    pen.fillRect(left, top, Math.round((x + 1) * kx) - left, Math.round((y + 1) * ky) - top);
  }
  pen.globalAlpha = 1;
}
