// The pictures of a case as a block of voxels, and planes through it.
const NO_LABEL = 15;

function picture(data, type) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = `data:image/${type};base64,${data}`;
  });
}

async function decoded(data, type, width, height) {
  const canvas = element("canvas", { width, height }), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(await picture(data, type), 0, 0);
  return pen.getImageData(0, 0, width, height).data;
}

async function blockOf(row) {
  const { slices, width, height, image, layers, sides } = row.pictures, tall = height * slices.length;
  const [grey, codes] = await Promise.all([decoded(image, "jpeg", width, tall), decoded(layers, "png", width, tall)]);
  const mm = [row.pictures.slice_mm, row.pictures.pixel_mm, row.pictures.pixel_mm];
  return { row, grey, codes, size: [slices.length, height, width], mm, sides, volume: row.pictures.volume };
}

// The plane across one axis, turned as physicians look at it where the sides are known: head or front above,
// the patient's right (or front) to the left.
function planeOf(block, fixed) {
  const { sides, size } = block, free = [0, 1, 2].filter(axis => axis !== fixed);
  const along = (axis, letter) => sides && sides[axis].includes(letter);
  const above = sides ? (free.some(axis => along(axis, "H")) ? "H" : "A") : null;
  let [down, right] = free;
  if (sides && along(right, above)) [down, right] = [right, down];
  const turned = (axis, letters) => Boolean(sides) && !letters.includes(sides[axis][0]);
  const upside = turned(down, above), mirrored = turned(right, ["R", "A"]);
  const edge = (axis, end) => sides ? sides[axis][end] : "";
  return {
    fixed, down, right, width: size[right], height: size[down], mm: [block.mm[right], block.mm[down]],
    name: sides ? { H: "axial", A: "coronal", R: "sagittal" }[["H", "A", "R"].find(one => along(fixed, one))] : "",
    edges: { top: edge(down, upside ? 1 : 0), bottom: edge(down, upside ? 0 : 1), left: edge(right, mirrored ? 1 : 0), right: edge(right, mirrored ? 0 : 1) },
    // From a column and a row of the plane to voxels, and back.
    voxel(x, y, at) {
      const found = [...at];
      found[right] = mirrored ? size[right] - 1 - x : x;
      found[down] = upside ? size[down] - 1 - y : y;
      return found;
    },
    pixel(at) {
      return [mirrored ? size[right] - 1 - at[right] : at[right], upside ? size[down] - 1 - at[down] : at[down]];
    },
  };
}

const indexOf = (block, at) => 4 * ((at[0] * block.size[1] + at[1]) * block.size[2] + at[2]);

const CODES = {
  given: (codes, index) => codes[index] & 15,
  likely: (codes, index) => codes[index] >> 4,
  network: (codes, index) => codes[index + 1] & 15,
  proposal: (codes, index) => codes[index + 1] >> 4,
  suspicion: (codes, index) => codes[index + 2] & 15,
  weights: (codes, index) => codes[index + 2] >> 4,
};

// For every pixel of a plane through `at` where its voxel stands in the block.
function indicesOf(block, plane, at) {
  const found = new Int32Array(plane.width * plane.height);
  for (let y = 0; y < plane.height; y++) for (let x = 0; x < plane.width; x++)
    found[y * plane.width + x] = indexOf(block, plane.voxel(x, y, at));
  return found;
}

// The expected error along every axis of a block, of equal voxels.
function errorsAlong(block) {
  const found = block.size.map(length => Array(length).fill(0)), [, height, width] = block.size;
  for (let k = 0, index = 0; index < block.codes.length; k++, index += 4) {
    const value = CODES.suspicion(block.codes, index);
    if (!value) continue;
    found[0][Math.floor(k / (height * width))] += value;
    found[1][Math.floor(k / width) % height] += value;
    found[2][k % width] += value;
  }
  const voxel = block.mm[0] * block.mm[1] * block.mm[2] / 15;
  return found.map(values => values.map(value => value * voxel));
}

const largest = values => values.reduce((best, value, k) => value > values[best] ? k : best, 0);

// Whether codes of a voxel are those of a finding: a class and another, or in a region and outside of it.
function isOf(finding, given, likely) {
  const regions = structures.some(one => one.values.size > 1);
  const is = (name, code, other) => {
    const own = structures.find(one => one.name === name);
    return own ? own.values.has(code) : regions ? !structures.find(one => one.name === other).values.has(code) : code === 0;
  };
  return is(finding.given, given, finding.proposed) && is(finding.proposed, likely, finding.given);
}

// The pixel of a finding in a slice that lies nearest to the middle of all its pixels there; null if there is none.
function placeOf(block, position, finding) {
  const found = [];
  for (let b = 0; b < block.size[1]; b++) for (let c = 0; c < block.size[2]; c++) {
    const index = indexOf(block, [position, b, c]);
    if (isOf(finding, CODES.given(block.codes, index), CODES.likely(block.codes, index))) found.push([b, c]);
  }
  if (!found.length) return null;
  const middle = [0, 1].map(k => found.reduce((sum, one) => sum + one[k], 0) / found.length);
  const away = one => (one[0] - middle[0]) ** 2 + (one[1] - middle[1]) ** 2;
  return [position, ...found.reduce((best, one) => away(one) < away(best) ? one : best)];
}
