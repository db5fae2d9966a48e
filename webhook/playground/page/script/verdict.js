// The verdict in a sentence, and the choice between several pods.
import { byId, counted, element } from "./dom.js";

/** Say what is decided about a pod; ``added`` is the number of new lines in the whole text. */
export function showVerdict(pod, workloads, added) {
  const title = workloads[pod.number]?.title ?? `${pod.kind}/${pod.name}`;
  if (pod.denied) {
    say("failed", "Refused", ` ${title}, because strict is set: ${pod.sentence} (${pod.reason}).`);
  } else if (pod.injected) {
    const others = workloads.length > 1 ? " in all" : "";
    say("injected", "Injected", ` ${title} with profile ${pod.profile}: ${counted(added, "new line")}${others}.`);
  } else {
    say("not-injected", "Not injected", ` ${title}: ${pod.sentence} (${pod.reason}).`);
  }
  const select = byId("workload");
  select.replaceChildren(
    ...workloads.map(({ title: name, injected }, index) => new Option(`${name}${injected ? "" : ", not injected"}`, index)),
  );
  select.value = String(pod.number);
  byId("chooser").hidden = workloads.length < 2;
}

/** Say something of no pod. */
export function say(className, strong, text) {
  byId("verdict").className = `verdict ${className}`;
  const said = strong ? [element("b", "", strong), text] : [text];
  const status = byId("status");
  // screen readers read each change: none where nothing is new
  if (status.textContent !== `${strong}${text}`) status.replaceChildren(...said);
  byId("chooser").hidden = true;
}
