// The page: what somebody does leads to a question, and its answer to what is shown.
import { ask, setup as getSetup, MAX_TEXT } from "./api.js";
import { button, byId, counted, debounced, element, tell } from "./dom.js";
import * as editor from "./editor.js";
import { makeForm, showForm } from "./form.js";
import { fromFragment, toFragment } from "./link.js";
import { showPod } from "./pod.js";
import { showProblems } from "./problems.js";
import { allowProfiles, showProfiles } from "./profiles.js";
import { revealFirst, showResult, showWelcome } from "./result.js";
import { showRules } from "./rules.js";
import { say, showVerdict } from "./verdict.js";

let workload = 0;
let examples = [];

const state = () => ({ text: editor.text(), workload, opted_in: byId("opted-in").checked });

/** Ask about the text as it is now, and show the answer; ``change`` may set an annotation first. */
async function update(change = {}) {
  document.body.classList.add("stale");
  const asked = state();
  const answer = await ask({ ...asked, ...change });
  // what is set in the form is not lost when somebody types at the same time
  if (change.key && (!answer || editor.text() !== asked.text)) return update(change);
  if (!answer) return undefined;
  document.body.classList.remove("stale");
  if (change.key && answer.text !== undefined) editor.setText(answer.text);
  show(answer);
  showPressed();
  keepInAddress();
  return undefined;
}

function show(answer) {
  if (answer.failure) {
    showNothing([], "failed", "No answer.", ` ${answer.failure}`);
  } else if (answer.problems.length) {
    const count = counted(answer.problems.length, "problem");
    showNothing(answer.problems, "failed", "Not readable.", ` ${count} in the text, listed below it.`);
  } else if (answer.isBlank) {
    showWelcome();
    showNothing([], "", "", "Type a manifest to see what the webhook decides.");
  } else if (!answer.shown) {
    showResult(answer.result);
    showNothing(answer.remarks, "not-injected", "No pod.", " There is no pod and no pod template in the text.");
  } else {
    showProblems(answer.remarks);
    const added = showResult(answer.result);
    byId("about").hidden = false;
    showVerdict(answer.shown, answer.workloads, added);
    showPod(answer.shown);
    showRules(answer.shown);
    showForm(answer.shown);
    allowProfiles(true);
    workload = answer.shown.number;
  }
}

function showNothing(problems, ...verdict) {
  showProblems(problems);
  byId("about").hidden = true;
  allowProfiles(false);
  say(...verdict);
}

/** Show which example the text is. */
function showPressed() {
  const text = editor.text();
  byId("examples").querySelectorAll("button").forEach((each, index) => {
    each.setAttribute("aria-pressed", String(examples[index].text === text));
  });
}

const keepInAddress = debounced(300, async () => {
  history.replaceState(null, "", (await toFragment(state())) || location.pathname);
});

async function share() {
  const fragment = await toFragment(state());
  if (!fragment) {
    tell(editor.text() ? "The manifest is too long for a link." : "There is nothing to link to yet.");
    return;
  }
  history.replaceState(null, "", fragment);
  try {
    await navigator.clipboard.writeText(location.href);
    tell("The link is copied. It holds the whole manifest.");
  } catch {
    tell("The link is in the address bar. It holds the whole manifest.");
  }
}

async function restore() {
  const found = await fromFragment(location.hash);
  if (!found || found.text.length > MAX_TEXT) {
    if (location.hash.length > 1 && location.hash !== "#manifest") tell("This link can't be read.");
    return;
  }
  begin(found.text, found.workload, found.opted_in);
}

/** Show another text than before. */
async function begin(text, number = 0, optedIn = false) {
  workload = number;
  byId("opted-in").checked = optedIn;
  editor.setText(text);
  await update();
  revealFirst();
}

/** Show another text in place of this one; the browser's Back button leads back to it. */
async function replace(text) {
  const former = await toFragment(state());
  if (former && editor.text() !== text) {
    history.replaceState(null, "", former);
    history.pushState(null, "", location.pathname);
  }
  await begin(text);
}

async function start() {
  const setup = await getSetup();
  examples = setup.examples;
  byId("examples").append(
    ...examples.map(({ title, text }) => element("li", "", button(title, () => replace(text)))),
  );
  byId("snippet").textContent = `annotations:\n  ${setup.prefix}inject: "true"\n  ${setup.prefix}logs: /var/log/app/*.log`;
  let writing = Promise.resolve();
  const write = (key, value) => {
    writing = writing.then(() => update({ key, value: value || null }));
  };
  makeForm(setup, write);
  showProfiles(setup, (name) => write("profile", name));
  showPressed();
  editor.onChange(debounced(200, () => update()));
  byId("opted-in").addEventListener("change", () => update());
  byId("workload").addEventListener("change", (event) => {
    workload = Number(event.target.value);
    update();
  });
  byId("clear").addEventListener("click", () => {
    replace("");
    byId("manifest").focus();
  });
  byId("share").addEventListener("click", share);
  addEventListener("hashchange", () => (location.hash ? restore() : begin("")));
  await restore();
  // a text that the browser kept over a reload
  if (editor.text() && !location.hash) update();
}

start();
