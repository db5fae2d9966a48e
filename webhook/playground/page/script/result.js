// The injected manifest, with what is new in it.
import { byId, counted, element, tell } from "./dom.js";

/** So many lines are shown; a browser is slow with more. */
const MAX_LINES = 4000;
/** So many pixels are left above a change that is scrolled to. */
const ROOM = 64;
const KINDS = { "+": "ins", "-": "del", " ": "span" };

const box = byId("result");
let whole = "";

/** Show the result: runs of lines, each with "+", "-" or " ". */
export function showResult(runs) {
  whole = runs.filter(([sign]) => sign !== "-").map(([, text]) => text).join("");
  const lines = runs.map(([sign, text]) => [sign, text.replace(/\n$/, "").split("\n")]);
  const total = lines.reduce((sum, [, run]) => sum + run.length, 0);
  let left = MAX_LINES;
  const shown = lines.map(([sign, run]) => {
    const part = run.slice(0, Math.max(left, 0));
    left -= run.length;
    return [sign, part];
  });
  const gutter = shown.map(([sign, run]) => `${sign}\n`.repeat(run.length)).join("");
  const pre = element("pre", "text");
  pre.append(...shown.filter(([, run]) => run.length).map(([sign, run]) => element(KINDS[sign], "", run.join("\n") || " ")));
  const signs = element("div", "gutter", element("pre", "", gutter));
  signs.setAttribute("aria-hidden", "true");
  const more = total > MAX_LINES ? [element("p", "more", `… and ${counted(total - MAX_LINES, "line")} more. Copy takes all of it.`)] : [];
  const { scrollTop, scrollLeft } = box;
  box.replaceChildren(signs, pre, ...more);
  box.scrollTop = scrollTop;
  box.scrollLeft = scrollLeft;
  const added = lines.reduce((sum, [sign, run]) => sum + (sign === "+" ? run.length : 0), 0);
  byId("added").textContent = added ? `+ ${counted(added, "line")}` : "unchanged";
  byId("added").classList.toggle("some", added > 0);
  show(true);
  byId("next").hidden = added === 0;
  return added;
}

/** Scroll to the first change, if it is out of sight. */
export function revealFirst() {
  const first = box.querySelector("ins, del");
  if (first) box.scrollTop = top(first) + ROOM > box.clientHeight ? top(first) - ROOM : 0;
}

/** Show nothing; what teaches stands there instead. */
export function showWelcome() {
  whole = "";
  byId("added").textContent = "";
  show(false);
}

/** Return how far below the beginning of the text a change stands. */
function top(change) {
  return change.getBoundingClientRect().top - box.getBoundingClientRect().top + box.scrollTop;
}

function show(visible) {
  box.hidden = !visible;
  byId("welcome").hidden = visible;
  byId("copy").hidden = !visible;
  byId("next").hidden = !visible;
}

byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(whole);
    tell("The injected manifest is copied.");
  } catch {
    tell("The browser does not allow copying. Select the text instead.");
  }
});

byId("next").addEventListener("click", () => {
  const changes = [...box.querySelectorAll("ins, del")];
  const next = changes.find((change) => top(change) > box.scrollTop + ROOM + 1) ?? changes[0];
  box.scrollTop = top(next) - ROOM;
});
