// The manifest as text: its line numbers, marks beside the lines with problems, and files that are dropped.
import { MAX_TEXT, TOO_LONG } from "./api.js";
import { byId, element, tell } from "./dom.js";

const area = byId("manifest");
const numbers = byId("numbers");
const bands = byId("bands");
/** Browsers take minutes to paste a megabyte as if it were typed, with each line to be undone. */
const SLOW_PASTE = 32 * 1024;
let lines = 1;

/** Return the text. */
export function text() {
  return area.value;
}

/** Replace the text; the cursor stays where it is, as far as that exists. */
export function setText(wanted) {
  if (area.value === wanted) return;
  const { selectionStart, scrollTop } = area;
  area.value = wanted;
  area.setSelectionRange(selectionStart, selectionStart);
  area.scrollTop = scrollTop;
  number();
}

/** Call a function whenever somebody has changed the text. */
export function onChange(changed) {
  area.addEventListener("input", () => {
    number();
    changed();
  });
  area.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.getData("text") ?? "";
    if (pasted.length < SLOW_PASTE) return;
    event.preventDefault();
    if (area.value.length + pasted.length > MAX_TEXT) {
      tell(TOO_LONG);
      return;
    }
    area.setRangeText(pasted, area.selectionStart, area.selectionEnd, "end");
    number();
    changed();
  });
  takeFiles((dropped) => {
    setText(dropped);
    changed();
  });
}

/** Put the cursor at a line and column, both from 1. */
export function goTo(line, column) {
  let start = 0;
  for (let passed = 1; passed < line; passed += 1) {
    const end = area.value.indexOf("\n", start);
    if (end < 0) break;
    start = end + 1;
  }
  const end = area.value.indexOf("\n", start);
  const last = end < 0 ? area.value.length : end;
  // columns count characters, the text area counts UTF-16 units
  const before = [...area.value.slice(start, last)].slice(0, column - 1).join("").length;
  area.focus();
  area.setSelectionRange(start + before, last);
  area.scrollTop = (line - 4) * rowHeight();
  area.scrollLeft = 0;
}

/** Mark the lines of problems, each with a line and a level. */
export function mark(problems) {
  bands.replaceChildren(
    ...problems.map(({ line, level }) => {
      const band = element("div", level);
      band.style.top = `calc(${line - 1} * var(--row))`;
      return band;
    }),
  );
}

function number() {
  const found = area.value.split("\n").length;
  if (found !== lines) {
    lines = found;
    numbers.textContent = Array.from({ length: lines }, (_, index) => index + 1).join("\n");
  }
  follow();
}

function rowHeight() {
  return parseFloat(getComputedStyle(area).lineHeight);
}

/** Scroll what stands beside and behind the text with it. */
function follow() {
  numbers.parentElement.scrollTop = area.scrollTop;
  bands.style.transform = `translateY(${-area.scrollTop}px)`;
}

function takeFiles(take) {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", async (event) => {
    document.body.classList.remove("dropping");
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.reduce((sum, file) => sum + file.size, 0) > MAX_TEXT) {
      tell(TOO_LONG);
      return;
    }
    const texts = await Promise.all(files.map((file) => file.text()));
    if (texts.length) take(texts.map((each) => each.replace(/\n?$/, "\n")).join("---\n"));
  });
}

area.addEventListener("scroll", follow);
