// The form that writes the annotations. Its fields are those of Pillion's own grammar.
import { byId, debounced, element } from "./dom.js";

const fields = new Map();
let prefix = "";

/** Make a field for each annotation; ``write`` is called with a key and a value. */
export function makeForm(setup, write) {
  prefix = setup.prefix;
  const form = byId("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const option of setup.options) {
    const field = makeField(option, write);
    fields.set(option.key, field);
    form.append(field.box);
  }
}

/** Show a pod's annotations, and what is wrong with each. */
export function showForm(pod) {
  for (const [key, field] of fields) {
    const value = pod.annotations[key] ?? "";
    // who writes in a field is not disturbed
    if (document.activeElement !== field.control) field.show(value);
    field.box.classList.toggle("set", value !== "");
    const name = `${prefix}${key}`;
    const faults = pod.findings.filter(
      ({ severity, text }) => severity !== "note" && (text.startsWith(`${name} `) || text.startsWith(`${name}:`)),
    );
    field.fault.textContent = faults.map(({ text }) => text.slice(name.length).replace(/^:? /, "")).join("; ");
    const invalid = faults.some(({ severity }) => severity === "invalid");
    field.control.setAttribute("aria-invalid", String(invalid));
  }
}

function makeField({ key, meaning, example, choices, isList }, write) {
  const control = choices.length ? select(choices) : element(isList ? "textarea" : "input");
  const id = `annotation-${key}`;
  control.id = id;
  if (!choices.length) {
    control.placeholder = example;
    control.spellcheck = false;
    control.autocomplete = "off";
  }
  const label = element("label", "", key);
  label.htmlFor = id;
  const hint = element("p", "hint", meaning);
  hint.id = `${id}-hint`;
  const fault = element("p", "fault");
  fault.id = `${id}-fault`;
  control.setAttribute("aria-describedby", `${hint.id} ${fault.id}`);
  control.addEventListener("input", debounced(choices.length ? 0 : 350, () => write(key, control.value)));
  const box = element("div", isList ? "field wide" : "field", label, hint, control, fault);
  return { box, control, fault, show: choices.length ? (value) => choose(control, value) : (value) => (control.value = value) };
}

function select(choices) {
  const made = element("select");
  made.append(new Option("not set", ""), ...choices.map((choice) => new Option(choice, choice)));
  return made;
}

/** Show a value in a list of choices, also one that is not among them. */
function choose(control, value) {
  control.querySelector("[data-foreign]")?.remove();
  if (![...control.options].some((option) => option.value === value)) {
    const foreign = new Option(value, value);
    foreign.dataset.foreign = "";
    control.append(foreign);
  }
  control.value = value;
}
