// The state in the address, behind the #: a browser sends that to nobody.
import { MAX_TEXT } from "./api.js";

const VERSION = "#1.";
/** Longer addresses do not survive being sent around. */
const MAX_LINK = 32 * 1024;

/** Return the state as a fragment, empty where it would be too long. */
export async function toFragment(state) {
  if (!state.text) return "";
  const packed = await piped(new Blob([JSON.stringify(state)]), new CompressionStream("deflate-raw"), MAX_LINK);
  if (!packed) return "";
  const text = btoa(String.fromCharCode(...packed)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${VERSION}${text}`;
}

/** Return the state that a fragment holds, null where it holds none. */
export async function fromFragment(fragment) {
  if (!fragment.startsWith(VERSION)) return null;
  try {
    const text = atob(fragment.slice(VERSION.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    // what unpacks to far more than it should is no link of ours
    const unpacked = await piped(new Blob([bytes]), new DecompressionStream("deflate-raw"), 6 * MAX_TEXT);
    const found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(unpacked));
    if (typeof found.text !== "string") return null;
    return { text: found.text, workload: Number.isSafeInteger(found.workload) ? found.workload : 0, opted_in: found.opted_in === true };
  } catch {
    return null;
  }
}

/** Return what a stream makes of a blob, null where that is more than a limit. */
async function piped(blob, stream, limit) {
  const chunks = [];
  let length = 0;
  for await (const chunk of parts(blob.stream().pipeThrough(stream))) {
    length += chunk.length;
    if (length > limit) return null;
    chunks.push(chunk);
  }
  const whole = new Uint8Array(length);
  let place = 0;
  for (const chunk of chunks) {
    whole.set(chunk, place);
    place += chunk.length;
  }
  return whole;
}

/** Yield a stream's chunks; not every browser iterates over streams. */
async function* parts(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
