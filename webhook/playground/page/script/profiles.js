// The sidecars that pods can have.
import { button, byId, element } from "./dom.js";

/** Show the configuration's profiles; ``use`` is called with the name of one that is chosen. */
export function showProfiles(setup, use) {
  byId("configuration").textContent = setup.configuration
    ? `From ${setup.configuration}; a pod chooses one by name.`
    : "The built-in configuration; a pod chooses one by name.";
  byId("profiles").replaceChildren(...setup.profiles.map((profile) => card(profile, use)));
}

/** Let profiles be chosen, or not: there must be a pod that can have one. */
export function allowProfiles(allowed) {
  for (const each of byId("profiles").querySelectorAll("button")) each.disabled = !allowed;
}

function card(profile, use) {
  const chooses = button("Use", () => use(profile.name));
  chooses.setAttribute("aria-label", `Use ${profile.name}`);
  chooses.disabled = true;
  const head = element("div", "head", element("h3", "", profile.name));
  if (profile.default) head.append(element("span", "badge", "default"));
  head.append(chooses);
  const kind = profile.native ? "native sidecar" : "ordinary container";
  const reads = profile.logs.length ? `, reads ${profile.logs.join(", ")} unless the pod names others` : "";
  return element(
    "li",
    "",
    head,
    element("p", "", profile.description),
    element("p", "sub mono", profile.image),
    element("p", "sub", `${kind}${reads}`),
    ...profile.setup.map((step) => element("p", "needs", `Before pods can use it: ${step}.`)),
    ...profile.needs.map((need) => element("p", "needs", need)),
  );
}
