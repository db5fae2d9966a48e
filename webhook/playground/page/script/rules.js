// Each rule with what it found, and what else is worth knowing.
import { byId, element } from "./dom.js";

const SIGNS = new Map([
  [true, ["yes", "✓", "yes: "]],
  [false, ["no", "✗", "no: "]],
  [null, ["unasked", "·", "not asked: "]],
]);

/** Show a pod's rules and notes. */
export function showRules(pod) {
  byId("rules").replaceChildren(...pod.rules.map(rule));
  const notes = pod.findings.filter((finding) => finding.severity === "note");
  byId("notes").replaceChildren(...notes.map(note));
}

function rule({ question, passed, found }) {
  const [className, sign, word] = SIGNS.get(passed);
  const shape = element("span", "sign", sign);
  shape.setAttribute("aria-hidden", "true");
  const asked = element("span", "asked", element("span", "unseen", word), question);
  return element("li", className, shape, asked, element("span", "found", found));
}

function note({ text }) {
  return element("li", "", element("span", "level", "Note: "), text);
}
