// The strict zip of a bundle (runtime/BUNDLE.md), read without a library: DecompressionStream inflates.
import {LIMITS} from "./constants.js";

/** A user's file cannot be used; the message says which, what is wrong and what to do. */
export class InputError extends Error {}

const NAME = /^[a-z0-9_]{1,40}(\/[a-z0-9_]{1,40}){0,3}\.[a-z0-9]{1,8}$/;
const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const END_BYTES = 22;

/** Entries of a zip: Map of name to Uint8Array. Throws InputError naming `source`. */
export async function readArchive(bytes, source) {
  const entries = directory(bytes, source);
  const contents = new Map();
  await Promise.all(entries.map(async (entry) => contents.set(entry.name, await inflate(bytes, entry, source))));
  return contents;
}

/** The checked directory: entries fill the file from its first byte to the directory, in order. */
function directory(bytes, source) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - END_BYTES;
  if (end < 0 || view.getUint32(0, true) !== 0x04034b50) {
    throw new InputError(`${source}: is not an ani3d bundle (a zip); give a file made by ani3d bake`);
  }
  if (view.getUint32(end, true) !== 0x06054b50 || view.getUint16(end + 20, true)) {
    throw new InputError(`${source}: is cut off, or has bytes after its end; copy it again`);
  }
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (count > LIMITS.ENTRIES || start + view.getUint32(end + 12, true) !== end) {
    throw new InputError(`${source}: has bytes that belong to no entry, or too many entries`);
  }
  const entries = [];
  let at = start;
  let position = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const entry = directoryEntry(view, at, end, source);
    if (entry.offset !== position || entries.some((other) => other.name === entry.name)) {
      throw new InputError(`${source}/${entry.name}: is not where the file's directory should have it`);
    }
    entry.data = position + LOCAL_BYTES + entry.name.length;
    position = entry.data + entry.stored;
    total += entry.size;
    at += ENTRY_BYTES + entry.name.length;
    entries.push(entry);
  }
  if (position !== start || at !== end) throw new InputError(`${source}: has bytes that belong to no entry`);
  if (total > Math.min(LIMITS.TOTAL_BYTES, LIMITS.FREE_BYTES + LIMITS.RATIO * bytes.length)) {
    throw new InputError(`${source}: would inflate from ${bytes.length} to ${total} bytes; refused`);
  }
  return entries;
}

function directoryEntry(view, at, end, source) {
  if (at + ENTRY_BYTES > end || view.getUint32(at, true) !== 0x02014b50) {
    throw new InputError(`${source}: its directory is damaged; copy it again`);
  }
  const nameBytes = view.getUint16(at + 28, true);
  let name = "";
  for (let i = 0; i < nameBytes && at + ENTRY_BYTES + i < end; i++) {
    name += String.fromCharCode(view.getUint8(at + ENTRY_BYTES + i));
  }
  const entry = {name, method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true),
    stored: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), offset: view.getUint32(at + 42, true)};
  const flags = view.getUint16(at + 8, true) | view.getUint16(at + 30, true) | view.getUint16(at + 32, true);
  if (!NAME.test(name) || flags || (entry.method !== 0 && entry.method !== 8) || entry.size > LIMITS.ENTRY_BYTES) {
    throw new InputError(`${source}: entry ${JSON.stringify(name.slice(0, 80))} is not one a bundle may have`);
  }
  return entry;
}

/** The content of an entry, at most its stated size, its crc checked. */
async function inflate(bytes, entry, source) {
  const stored = bytes.subarray(entry.data, entry.data + entry.stored);
  const content = entry.method === 0 ? stored.slice() : await inflateRaw(stored, entry, source);
  if (content.length !== entry.size || crc32(content) !== entry.crc) {
    throw new InputError(`${source}/${entry.name}: is damaged; copy the file again`);
  }
  return content;
}

async function inflateRaw(stored, entry, source) {
  const content = new Uint8Array(entry.size);
  const reader = new Blob([stored]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  let filled = 0;
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      if (filled + value.length > entry.size) throw new Error("larger than its header says");
      content.set(value, filled);
      filled += value.length;
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw new InputError(`${source}/${entry.name}: is damaged (${error.message}); copy the file again`);
  }
  return filled === entry.size ? content : content.subarray(0, filled);
}

const CRC_TABLE = Uint32Array.from({length: 256}, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** The zip's checksum. */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
