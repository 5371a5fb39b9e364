/**
 * The first key that occurs twice in one object of a JSON text, at any depth; undefined where none does. JSON.parse
 * keeps the last of them and says nothing, and a checkpoint with two tensors of one name must not load either silently.
 * Goes through the text once, by hand: a regular expression runs out of stack on strings of some megabytes.
 * @param json a text that JSON.parse accepts
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  /** Where the last string stands, if nothing has come behind it. */
  let last: { from: number; to: number } | undefined;
  for (let at = 0; at < json.length; at++) {
    const letter = json[at];
    if (letter === '"') {
      const to = endOfString(json, at);
      last = { from: at, to };
      at = to - 1;
      continue;
    }
    if (letter === '{') open.push(new Set());
    else if (letter === '[') open.push(undefined);
    else if (letter === '}' || letter === ']') open.pop();
    else if (letter === ':' && last) {
      const keys = open.at(-1);
      const key: string = JSON.parse(json.slice(last.from, last.to));
      if (keys?.has(key)) return key;
      keys?.add(key);
    } else if (letter !== ',') continue;
    last = undefined;
  }
  return undefined;
}

/** Behind the quote that ends a string. */
function endOfString(json: string, from: number): number {
  for (let quote = json.indexOf('"', from + 1); quote >= 0; quote = json.indexOf('"', quote + 1)) {
    let slash = quote;
    while (json[slash - 1] === '\\') slash--;
    if ((quote - slash) % 2 === 0) return quote + 1;
  }
  return json.length;
}
