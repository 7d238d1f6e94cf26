// Keys, buttons, theme; then the page opens on its first case.
function otherCase(step) {
  const now = state.order.indexOf(state.current);
  goToCase(state.order[Math.max(0, Math.min(state.order.length - 1, now + step))]);
}

function nextUndecided() {
  const now = state.order.indexOf(state.current), turned = [...state.order.slice(now + 1), ...state.order.slice(0, now + 1)];
  const next = turned.find(row => !decisions[row.case]);
  if (next) goToCase(next); else say("Every case in the table is decided.");
}

function goToCase(row) {
  if (!row || row === state.current) return;
  select(row);
  document.querySelector("#cases tr[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
}

function enlarge() {
  const wide = document.querySelector("main").classList.toggle("wide");
  $("wide").setAttribute("aria-pressed", String(wide));
}

const SAID = { proposal: "proposal accepted", leave: "left as it is", reannotated: "to be drawn anew" };

// Once more the same decision takes it back.
function decideCurrent(decision) {
  const row = state.current;
  if (!row) return;
  if (!may(row, decision)) return say(`There is no proposal to accept: ${verdict(row).replace("none: ", "")}.`);
  const same = decisions[row.case] === decision;
  decide([[row.case, same ? null : decision]], `${row.case}: ${same ? "no decision" : SAID[decision]}`);
}

document.addEventListener("keydown", event => {
  const typing = event.target.matches("input[type=search], input[type=number]");
  if (typing || $("help").open) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "z") { event.preventDefault(); return undo(); }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = { ArrowUp: () => goTo(state.at[state.main] - 1), ArrowDown: () => goTo(state.at[state.main] + 1), ArrowLeft: () => otherCase(-1), ArrowRight: () => otherCase(1),
    1: () => toggle("given"), 2: () => toggle("proposal"), 3: () => toggle("network"), 4: () => toggle("suspicion"), 5: () => weighed && toggle("weights"),
    a: () => decideCurrent("proposal"), l: () => decideCurrent("leave"), r: () => decideCurrent("reannotated"), n: nextUndecided, w: enlarge,
    "/": () => { openTab("cases"); $("search").focus(); }, "?": () => $("help").showModal() };
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || !state.block || (event.repeat && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
});

$("stage").addEventListener("wheel", event => {
  const figure = event.target.closest("figure");
  if (!figure || !state.block) return;
  event.preventDefault();
  if (figure.classList.contains("big")) return goTo(state.at[state.main] + Math.sign(event.deltaY));
  const axis = smallAxis(figure);
  state.at[axis] = Math.max(0, Math.min(state.block.size[axis] - 1, state.at[axis] + Math.sign(event.deltaY)));
  draw();
}, { passive: false });

const smallAxis = figure => [0, 1, 2].filter(axis => axis !== state.main)[smallFigures.indexOf(figure)];

// In three planes a press, or a drag, moves the other two to the place.
function cross(event, canvas, axis) {
  if (!state.block?.volume || event.buttons !== 1) return;
  const plane = planeOf(state.block, axis), box = canvas.getBoundingClientRect();
  const inside = (share, size) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
  const x = inside((event.clientX - box.left) / box.width, plane.width), y = inside((event.clientY - box.top) / box.height, plane.height);
  state.at = plane.voxel(x, y, state.at);
  draw();
}
for (const kind of ["pointerdown", "pointermove"]) {
  bigCanvas.addEventListener(kind, event => cross(event, bigCanvas, state.main));
  for (const figure of smallFigures) {
    const canvas = figure.querySelector("canvas");
    canvas.addEventListener(kind, event => cross(event, canvas, smallAxis(figure)));
  }
}
for (const figure of smallFigures) figure.querySelector("button").onclick = () => { state.main = smallAxis(figure); draw(); };

function applyTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Switch to the ${name === "dark" ? "light" : "dark"} theme`);
}
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const themeNow = () => load(THEME) || (prefersDark.matches ? "dark" : "light");
prefersDark.onchange = () => applyTheme(themeNow());
$("theme").onclick = () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  keep(THEME, name);
  applyTheme(name);
};

for (const button of document.querySelectorAll("[data-decision]")) button.onclick = () => decideCurrent(button.dataset.decision);
$("previous").onclick = () => otherCase(-1);
$("next").onclick = () => otherCase(1);
$("wide").onclick = enlarge;
$("undo").onclick = undo;
$("save").onclick = save;
$("all-p").oninput = showDecisions;
$("all-accept").onclick = acceptAll;
$("search").oninput = fillCases;
$("slice").oninput = () => state.block && goToNumber(Number($("slice").value));
$("help-open").onclick = () => $("help").showModal();

const place = [about.dataset, about.trainer, about.configuration, `fold ${about.fold}`].join(" · ");
$("about").textContent = place;
$("about").title = `${place} · ${about.checkpoint}, epoch ${about.epoch}` + (about.witnesses ? "" : " · the training kept no record of how its labels err");
$("corrections").textContent = about.corrections.sentence;
$("verdict-short").textContent = about.corrections.sentence.split(/:|\. /)[0];
$("verdict").dataset.helps = String(about.corrections.helps);
$("all").hidden = cases.every(row => row.p_value === null);
// Of few right labels even the largest change has a p above 0.1; there the audit proposes up to that.
const right = Object.keys(about.corrections.unseen || {}).length;
$("all-p").value = right ? Math.max(.1, Math.ceil(100 / (1 + right)) / 100) : .1;
document.title = `Label audit of ${about.dataset}`;
applyTheme(themeNow());
loadDecisions();
$("storage").hidden = kept;
headCases();
showTabs();
fillCases();
showLegend();
addEventListener("beforeprint", () => { $("verdict").open = true; });
new ResizeObserver(draw).observe($("stage"));
if (cases.length) select(cases[0]);
