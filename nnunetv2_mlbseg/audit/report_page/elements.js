"use strict";
// The data of the page, its elements, and how numbers are written.
const { about, cases } = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const SVG = ["svg", "rect", "line", "title"];

function element(tag, attributes, ...children) {
  const space = SVG.includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const made = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const plain = name => name.replaceAll("_", " ");
const dice = value => value === null || value === undefined ? "–" : value.toFixed(2);
const signed = value => (value < -0.005 ? "−" : "+") + Math.abs(value).toFixed(2);
const probability = value => value === null ? "–" : value < .01 ? "<0.01" : value.toFixed(2);

function ml(mm3) {
  const value = mm3 / 1000;
  if (value >= 10) return `${Math.round(value).toLocaleString("en")} ml`;
  return value >= .95 ? `${value.toFixed(1)} ml` : value < .005 ? "<0.01 ml" : `${value.toFixed(2)} ml`;
}

const proposed = row => row.corrected_mm3 > 0;
const weighed = about.weights.none_because === null;
const sourced = cases.some(row => row.source);

// What is drawn and switched: every class, or region, with the label values it is made of.
// Colours by Okabe and Ito (2008), brightest first, as they stand on dark images; a letter tells all of them apart.
const COLOURS = ["#e69f00", "#56b4e9", "#f0e442", "#009e73", "#d55e00", "#cc79a7", "#0072b2"];
const classes = Object.entries(about.classes).filter(([value]) => value !== "0").map(([value, name]) => [name, [Number(value)]]);
const structures = (about.structures ? Object.entries(about.structures) : classes).map(([name, values], k) =>
  ({ name, values: new Set(values), letter: String.fromCharCode(65 + k), colour: COLOURS[k % COLOURS.length], on: true }));
