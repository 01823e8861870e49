// A member's own key in this browser (Ed25519, not extractable, in IndexedDB), and what it signs: audiotune/governance/ledger/events.py,
// `build_statement`. The header brings it, so that every page can sign by `window.audioTuneKeys`.

// Canonical JSON (RFC 8785): its numbers and strings are those of JSON.stringify, its names are sorted by UTF-16 units as `sort` does.
const canonicalize = (value) => {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError("this number has no form in JSON");
  if (typeof value === "string" && !value.isWellFormed()) throw new TypeError("half a character");
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(",")}]`;
  if (value && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${canonicalize(name)}:${canonicalize(value[name])}`).join(",")}}`;
  }
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError("this has no form in JSON");
  return text;
};

const ELSEWHERE = "Make one on your computer with `audiotune key make`, and paste its public half below.";
const toHex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const hashHex = async (bytes) => toHex(await crypto.subtle.digest("SHA-256", bytes));
const finish = (request) =>
  new Promise((good, bad) => { request.onsuccess = () => good(request.result); request.onerror = () => bad(request.error); });

const withKeys = async (mode, work) => {
  const opened = indexedDB.open("audio-tune-keys", 1);
  opened.onupgradeneeded = () => opened.result.createObjectStore("keys", { keyPath: "id" });
  const database = await finish(opened);
  try {
    return await finish(work(database.transaction("keys", mode).objectStore("keys")));
  } finally {
    database.close();
  }
};

// Why this browser can hold no key, in words; "" where it can.
const explainNoKeys = async () => {
  if (!window.isSecureContext || !window.crypto?.subtle) {
    return `This page is not secure (its address does not begin with https), so the browser keeps no keys for it. ${ELSEWHERE}`;
  }
  try {
    await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
    await withKeys("readonly", (keys) => keys.count());
    return "";
  } catch (error) {
    const why = error?.name === "NotSupportedError" ? "This browser knows no Ed25519 keys; a newer one does." : "This browser keeps no keys, perhaps because its window is a private one.";
    return `${why} ${ELSEWHERE}`;
  }
};

// A new key, kept here under the member's id; its public half in hexadecimal digits.
const makeKey = async (member) => {
  const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  const id = (await hashHex(raw)).slice(0, 16);
  await withKeys("readwrite", (keys) => keys.put({ id, member, key: pair.privateKey }));
  return { id, public: toHex(raw) };
};
const forgetKey = (id) => withKeys("readwrite", (keys) => keys.delete(id));
const listKeys = async (member) => (await withKeys("readonly", (keys) => keys.getAll())).filter((row) => row.member === member);

// The signature of what the studio asks for, by a key of this browser that counts; null where there is none.
const signAct = async ({ kind, by, body, head, keys }) => {
  try {
    const row = (await listKeys(by)).find(({ id }) => keys.includes(id));
    if (!row) return null;
    const statement = new TextEncoder().encode(canonicalize({ body, by, head, kind }));
    const bytes = new Uint8Array(await crypto.subtle.sign("Ed25519", row.key, statement));
    return { key: row.id, value: btoa(String.fromCharCode(...bytes)), head };
  } catch (error) {
    console.warn("not signed", error); // the act is recorded on the word of the sign-in, and the ledger says so
    return null;
  }
};

window.audioTuneKeys = { canonicalize, explainNoKeys, hashHex, make: makeKey, forget: forgetKey, list: listKeys, sign: signAct };
