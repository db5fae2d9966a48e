// Questions to the server. The newest wins: the answers to older ones are dropped.

/** The server takes texts of at most so many characters. */
export const MAX_TEXT = 1024 * 1024;
export const TOO_LONG =
  "This is longer than 1 MiB. The command line takes texts of any length: pillion explain -f FILE";

const RETRIES = 3;
let newest = 0;

/** Return what the page begins with. */
export async function setup() {
  return (await fetch("setup.json")).json();
}

/** Return the answer, {failure: text} where there is none, or null where there is a newer question. */
export async function ask(question) {
  newest += 1;
  const own = newest;
  if (question.text.length > MAX_TEXT) return { failure: TOO_LONG };
  for (let attempt = 1; ; attempt += 1) {
    const found = await asked(question);
    if (own !== newest) return null;
    // another window's question was newer
    if (!found.superseded) return found;
    if (attempt === RETRIES) return { failure: "Another window keeps the server busy." };
    await new Promise((resolve) => setTimeout(resolve, 400));
    if (own !== newest) return null;
  }
}

async function asked(question) {
  try {
    const response = await fetch("ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
    if (!response.ok) return { failure: `No answer: ${(await response.text()).trim()}.` };
    return await response.json();
  } catch {
    return { failure: "The playground's server does not answer. Start it again: pillion playground" };
  }
}
