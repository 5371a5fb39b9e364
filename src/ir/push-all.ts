/**
 * Adds to the end of a list. A call takes its arguments from the stack, so a list out of somebody's file, as long as it
 * likes, is not spread into one.
 */
export function pushAll<T>(list: T[], more: Iterable<T>): void {
  for (const each of more) list.push(each);
}
