// This browser keeps the newest event of the ledger that it saw. What it is shown later must contain that event, and lead on from it by
// hashes: a ledger that was cut or written anew is told, also where the store was changed.
const SEEN = "audio-tune-ledger-head";

const readSeen = () => {
  try {
    const seen = JSON.parse(localStorage.getItem(SEEN));
    return Number.isInteger(seen?.number) && typeof seen.digest === "string" ? seen : null;
  } catch {
    return null;
  }
};
const keepSeen = (number, digest) => {
  try {
    localStorage.setItem(SEEN, JSON.stringify({ number, digest, when: new Date().toISOString() }));
  } catch { /* a browser that keeps nothing cannot remember */ }
};
const forgetSeen = () => localStorage.removeItem(SEEN);

const describeFault = (seen, what) =>
  `The ledger of the group ${what} since this browser saw its event ${seen.number} on ${seen.when?.slice(0, 10) || "an earlier day"}. ` +
  `Somebody cut it or wrote it anew, or it was restored from an older backup. Ask the others, and compare: audiotune ledger verify --seen ${seen.digest}`;

// Words about a ledger that does not lead on from what was seen; "" where it does. `list({from})` gives events from a number on, and the
// newest one for `from` 0.
const checkLedger = async (list) => {
  const seen = readSeen();
  let from = seen?.number ?? 0;
  let previous = null;
  for (;;) {
    const { events = [], more = false, error } = await callServer(list, { from });
    if (error) return ""; // the studio or the store is away: the next look says it
    if (seen && previous === null && !events.length) return describeFault(seen, "has become shorter");
    for (const { number, text, digest } of events) {
      const found = window.isSecureContext ? await window.audioTuneKeys.hashHex(new TextEncoder().encode(text)) : digest;
      const isNext = previous === null ? !seen || found === seen.digest : JSON.parse(text).previous === previous;
      if (!isNext || (seen && number !== from)) return describeFault(seen || { number, digest: found }, "was changed");
      previous = found;
      from = number + 1;
    }
    if (!more) break;
  }
  if (previous !== null) keepSeen(from - 1, previous);
  return "";
};
