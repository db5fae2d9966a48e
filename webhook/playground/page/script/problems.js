// What is wrong in the manifest: a list below the text, whose items lead to their places, and marks in the text.
import { button, byId, element } from "./dom.js";
import { goTo, mark } from "./editor.js";

const WORDS = { error: "Error", warning: "Warning", note: "Note" };

/** Show problems: each has a line, a column, a level and a text. */
export function showProblems(problems) {
  byId("problems").replaceChildren(...problems.map(item));
  byId("problems-box").hidden = problems.length === 0;
  mark(problems);
}

function item({ line, column, level, text }) {
  const leads = button("", () => goTo(line, column));
  leads.append(
    element("span", "place", element("span", "unseen", "line and column "), `${line}:${column}`),
    element("span", "level", WORDS[level]),
    element("span", "said", text),
  );
  return element("li", level, leads);
}
