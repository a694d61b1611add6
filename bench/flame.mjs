// A flame graph (SVG; names and shares on hover) of what `perf script` prints. flame.mjs TITLE < STACKS > SVG
import { createInterface } from "node:readline";

const root = { name: "all", count: 0, children: new Map() };

/** What templates and namespaces are called does not fit on a bar. */
function short(name) {
  let text = name.replace(/\+0x[0-9a-f]+$/, "").replace(/^void |^std::enable_if.*> /, "");
  for (let before = ""; before !== text; ) [before, text] = [text, text.replace(/<[^<>]*>/g, "").replace(/\([^()]*\)/g, "")];
  return text.replace(/ const$/, "").trim() || name;
}

function add(stack) {
  let at = root;
  at.count++;
  for (const name of stack) {
    if (!at.children.has(name)) at.children.set(name, { name, count: 0, children: new Map() });
    at = at.children.get(name);
    at.count++;
  }
}

let stack = [], thread = "";
for await (const line of createInterface({ input: process.stdin })) {
  if (/^\S/.test(line)) {
    thread = line.match(/^(.+?)\s+\d+/)[1];
  } else if (line.trim() === "") {
    if (stack.length) add([thread, ...stack.reverse()]);
    stack = [];
  } else {
    const name = short(line.trim().replace(/^[0-9a-f]+ /, "").replace(/ \([^()]*\)$/, ""));
    if (name !== "[unknown]" && stack[stack.length - 1] !== name) stack.push(name);
  }
}

const width = 1200, high = 16, least = 2;
const depth = (node) => (node.count / root.count * width < least ? 0 : 1 + Math.max(0, ...[...node.children.values()].map(depth)));
const levels = depth(root), escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
const colour = (name) => {
  let sum = 0;
  for (const c of name) sum = (sum * 31 + c.charCodeAt(0)) % 997;
  return /^(do_|__|sys|ksys|vfs|ext4|x64|entry|_raw|try_to|futex|schedule|jbd2|blk)/.test(name) ? `hsl(${200 + (sum % 30)},45%,${68 + (sum % 14)}%)` : `hsl(${20 + (sum % 35)},75%,${62 + (sum % 16)}%)`;
};
const parts = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${levels * high + 30}" font-family="sans-serif" font-size="11">`, `<rect width="100%" height="100%" fill="#fff"/>`,
  `<text x="6" y="16" font-size="13" font-weight="bold">${escape(process.argv[2])} (${root.count} samples; blue: the kernel)</text>`];
function draw(node, x, level) {
  const w = (node.count / root.count) * width;
  if (w < least) return;
  const y = 24 + (levels - 1 - level) * high, share = ((node.count / root.count) * 100).toFixed(1);
  const room = Math.floor((w - 4) / 6);
  parts.push(`<g><title>${escape(node.name)}, ${share} %</title><rect x="${x.toFixed(1)}" y="${y}" width="${w.toFixed(1)}" height="${high - 1}" fill="${colour(node.name)}"/>` +
    (room > 3 ? `<text x="${(x + 2).toFixed(1)}" y="${y + 11}">${escape(node.name.length > room ? node.name.slice(0, room - 1) + "…" : node.name)}</text>` : "") + `</g>`);
  for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    draw(child, x, level + 1);
    x += (child.count / root.count) * width;
  }
}
draw(root, 0, 0);
process.stdout.write(parts.join("\n") + "\n</svg>\n");
