/** What the rewritten model gives for recorded inputs, against outputs that somebody has recorded. */
import { errors } from '../errors';
import type { Bench } from './bench';
import { compareTensors } from './compare';
import { loadFeeds } from './feeds';
import type { ProviderSpec } from './providers';
import { type Check, CheckBuilder } from './report';

/**
 * Runs the rewritten model on the inputs of a file and compares what it gives with the outputs there.
 * @param path safetensors file with `input.<name>` and `output.<name>`
 * @param notVerified gets a line for what the file holds and nobody looks at
 * @throws DiffxError feed-mismatch where the file does not fit the model or holds no outputs
 */
export async function checkRecordedOutputs(
  bench: Bench,
  path: string,
  provider: ProviderSpec,
  notVerified: string[],
): Promise<Check> {
  const place = provider.provider === 'cpu' ? undefined : provider.text;
  const states = 'the outputs are those that were recorded';
  const check = new CheckBuilder('recorded-outputs', place ? `${place}: ${states}` : states, place);
  const here = bench.at({ provider });
  await here.rewritten(async (session) => {
    const { feeds, expected, unused } = loadFeeds(path, session.inputs);
    const names = Object.keys(expected);
    if (names.length === 0) throw errors.feedMismatch(path, "has no 'output.<name>' to compare with");
    notVerified.push(...unused.map((name) => `'${name}' of ${path}: neither an input nor an output`));
    const known = new Set(session.outputs.map(({ name }) => name));
    const unrecorded = [...known].filter((name) => !names.includes(name));
    notVerified.push(...unrecorded.map((name) => `output '${name}': not recorded in ${path}`));
    const actual = await session.run({ ...feeds });
    check.ranOn(`inputs of ${path}`);
    for (const name of names) {
      if (!known.has(name)) check.find(`'output.${name}' of ${path}: the model has no such output`);
      else
        check.compare(
          name,
          compareTensors(expected[name], actual[name], here.toleranceOf(expected[name]?.dtype)),
          path,
        );
    }
  });
  return check.done();
}
