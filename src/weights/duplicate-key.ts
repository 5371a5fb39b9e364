/**
 * The first key that occurs twice in one object of a JSON text, at any depth; undefined where none does. JSON.parse
 * keeps the last of them and says nothing, and a checkpoint with two tensors of one name must not load either silently.
 * @param json a text that JSON.parse accepts
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let text: string | undefined;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':' && text !== undefined) {
      const keys = open.at(-1);
      const key: string = JSON.parse(text);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
    text = token.startsWith('"') ? token : undefined;
  }
  return undefined;
}
