// The pod as boxes: its containers and volumes, and a curve for each mount. The text in the boxes says it all.
import { byId, element } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const box = byId("pod");
let curves = [];
let canvas = null;

/** Draw a pod. */
export function showPod(pod) {
  const { containers, volumes } = pod.drawing;
  const ends = new Map(volumes.map((volume) => [volume.name, volumeBox(volume, pod.logSources)]));
  curves = [];
  const left = element("ul", "", ...containers.map((container) => containerBox(container, ends)));
  const right = element("ul", "", ...ends.values());
  canvas = document.createElementNS(SVG, "svg");
  canvas.setAttribute("aria-hidden", "true");
  box.replaceChildren(
    element("div", "column", element("h3", "", "Containers, in the order in which they start"), left),
    element("div", "column", element("h3", "", volumes.length ? "Volumes" : "No volumes"), right),
    canvas,
  );
  draw();
}

function containerBox(container, ends) {
  const made = element("li", container.new ? "box new" : "box");
  made.append(head(container.name, container.kind, container.new), element("p", "sub mono", container.image));
  if (container.variables.length) {
    made.append(element("p", "plus", "+ variables ", element("code", "", container.variables.join(", "))));
  }
  if (container.mounts.length) made.append(element("ul", "mounts", ...container.mounts.map((mount) => mountRow(mount, ends))));
  return made;
}

function mountRow(mount, ends) {
  const row = element("li", mount.new ? "new" : "", element("code", "", mount.path));
  if (mount.readOnly) row.append(element("span", "badge", "read-only"));
  if (mount.new) row.append(element("span", "badge new", "new"));
  row.append(element("span", "to", mount.subPath ? `${mount.volume}, subPath ${mount.subPath}` : mount.volume));
  const end = ends.get(mount.volume);
  if (end) curves.push({ from: row, to: end, isNew: mount.new });
  return row;
}

function volumeBox(volume, sources) {
  const what = volume.detail ? `${volume.type}, ${volume.detail}` : volume.type;
  const made = element("li", volume.new ? "box new" : "box", head(volume.name, what, volume.new));
  for (const source of sources.filter((each) => each.volume === volume.name)) {
    made.append(element("p", "sub", "the sidecar reads ", element("code", "", source.reads.join(", "))));
  }
  return made;
}

function head(name, what, isNew) {
  const made = element("div", "head", element("span", "name", name), element("span", "badge", what));
  if (isNew) made.append(element("span", "badge new", "new"));
  return made;
}

/** Draw the curves anew, where the boxes are now. */
function draw() {
  if (!canvas) return;
  const origin = box.getBoundingClientRect();
  const arrivals = new Map();
  canvas.replaceChildren(
    ...curves.map(({ from, to, isNew }) => {
      const start = from.getBoundingClientRect();
      const end = to.getBoundingClientRect();
      const count = arrivals.get(to) ?? 0;
      arrivals.set(to, count + 1);
      const x1 = from.closest(".box").getBoundingClientRect().right - origin.left;
      const y1 = (start.top + start.bottom) / 2 - origin.top;
      const x2 = end.left - origin.left;
      const y2 = Math.min(end.top + 18 + 7 * count, end.bottom - 6) - origin.top;
      const bend = (x2 - x1) / 2;
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", `M ${x1} ${y1} C ${x1 + bend} ${y1}, ${x2 - bend} ${y2}, ${x2} ${y2}`);
      if (isNew) path.setAttribute("class", "new");
      return path;
    }),
  );
}

new ResizeObserver(draw).observe(box);
