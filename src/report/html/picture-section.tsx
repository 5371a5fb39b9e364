import { plural } from '../text';
import { Drawing, Name, Section } from './parts';

/** A picture that has been drawn. */
export interface DrawnPicture {
  readonly paths: readonly string[];
  readonly before: DrawnSide | undefined;
  readonly after: DrawnSide | undefined;
}

export interface DrawnSide {
  /** An `<svg>` element. */
  readonly svg: string;
  readonly label: string;
  readonly nodes: number;
}

/** Each distinct shape of a layer, before and after. */
export function Pictures({ pictures, left }: { pictures: readonly DrawnPicture[]; left: number }) {
  const both = pictures.some(({ before, after }) => before && after);
  return (
    <Section id="pictures" title={both ? 'Before and after' : 'Pictures'}>
      <p>
        From the linear layers to what the attention gives. What comes from elsewhere (masks, positions,
        caches) is named; shape arithmetic is left out. Names of nodes show where the pointer rests.
      </p>
      <Legend pictures={pictures} />
      <label class="switch">
        <input type="checkbox" class="full-size" /> Actual size
      </label>
      {pictures.map(({ paths, before, after }) => (
        <figure class="pictures">
          <figcaption>
            {plural(paths.length, 'attention')} of this shape; drawn: <Name of={paths[0] ?? ''} />
            {paths.length > 1 && <Others paths={paths.slice(1)} />}
          </figcaption>
          <div class="sides">
            {before && <Side title="Before" side={before} />}
            {after && <Side title="After" side={after} />}
          </div>
        </figure>
      ))}
      {left > 0 && <p>{plural(left, 'further shape')} not drawn.</p>}
    </Section>
  );
}

function Side({ title, side }: { title: string; side: DrawnSide }) {
  return (
    <div class="side">
      <h3>
        {title} <span class="faint">{plural(side.nodes, 'node')}</span>
      </h3>
      <Drawing svg={side.svg} label={side.label} />
    </div>
  );
}

function Others({ paths }: { paths: readonly string[] }) {
  return (
    <details>
      <summary>and {plural(paths.length, 'other')}</summary>
      <ul>
        {paths.map((path) => (
          <li>
            <Name of={path} />
          </li>
        ))}
      </ul>
    </details>
  );
}

function Legend({ pictures }: { pictures: readonly DrawnPicture[] }) {
  const rewritten = pictures.some(({ after }) => after);
  return (
    <ul class="legend" aria-label="legend">
      <li>
        <span class="swatch swatch-projection" /> linear layer
      </li>
      <li>
        <span class="swatch swatch-heart" />{' '}
        {rewritten ? 'softmax, differential attention' : 'softmax or operator'}
      </li>
      {rewritten && (
        <li>
          <span class="swatch swatch-negative" /> second component
        </li>
      )}
    </ul>
  );
}
