"use strict";
// Elements and the way that numbers are written.

const at = id => document.getElementById(id);

// The only way text reaches the page: as text, never as HTML.
function element(parent, tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  parent.appendChild(made);
  return made;
}

function option(select, value, text) {
  const made = element(select, "option", text);
  made.value = value;
  return made;
}

// Plotly reads some tags and entities in its labels.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const known = value => value !== null && value !== undefined && !Number.isNaN(value);

function number(value, digits = 4) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

const percent = value => known(value) ? (100 * value).toFixed(1) + "%" : "–";
const counted = value => value.toLocaleString("en-US");

function duration(seconds) {
  if (seconds < 1) return `${number(1000 * seconds, 3)} ms`;
  if (seconds < 100) return `${number(seconds, 3)} s`;
  if (seconds < 6000) return `${number(seconds / 60, 3)} min`;
  return `${number(seconds / 3600, 3)} h`;
}

function colorOf(index) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--line-${index % 7}`).trim();
}

// Calls once when nothing has come for a while.
function later(call, wait = 120) {
  let waiting;
  return () => { clearTimeout(waiting); waiting = setTimeout(call, wait); };
}
