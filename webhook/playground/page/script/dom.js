// Elements, made of text only: nothing that a manifest says is ever read as HTML.

/** Return an element with this class and these children: texts and elements. */
export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Return the element of that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a button that does something. */
export function button(text, action) {
  const made = element("button", "", text);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

/** Return what calls a function once, when nobody has called it for some milliseconds. */
export function debounced(milliseconds, action) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
}

let fading;

/** Tell something in passing; screen readers read it, too. */
export function tell(text) {
  const toast = byId("toast");
  toast.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => toast.replaceChildren(), 4000);
}

/** Return "1 line", "2 lines". */
export function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}
