import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** What zod calls the types that a value can have, for a person. */
const TYPES: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  string: 'a text',
  int: 'a whole number',
  number: 'a number',
  array: 'a list',
  object: 'keys and values',
};

/** What is wrong with a value: what was expected, and what is there. */
export function issueText(issue: Issue, values: unknown): string {
  return `expected ${wanted(issue)}, found ${shown(valueAt(values, issue.path))}`;
}

function wanted(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return TYPES[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return `one of ${issue.values.join(', ')}`;
    case 'too_small':
      if (issue.origin === 'string') return 'a text that is not empty';
      if (issue.origin === 'array') return 'a list that is not empty';
      return issue.inclusive ? `a number from ${issue.minimum} on` : `a number above ${issue.minimum}`;
    case 'too_big':
      return `a number below ${issue.maximum}`;
    case 'invalid_union':
      return 'a text, a number or a list of them';
    default:
      return issue.message;
  }
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? value[key as keyof typeof value] : undefined,
    values,
  );
}

const LONGEST = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
