import { type Candidate, Dataflow, findCandidates, Shapes } from '../analyse';
import type { Model, Node } from '../ir';
import { fail } from './outcome';

/**
 * Values that the searches of all candidates look at, for each node of the model. Attentions are local: real exports take
 * less than a tenth of it. Thousands of softmaxes that all read the same thousands of nodes would take it squared.
 */
const SEARCHED_PER_NODE = 128;

/** What small models may take in any case. */
const SEARCHED_AT_LEAST = 1 << 15;

/** What recognisers know of a model. Worked out once; a model that has changed needs a new one. */
export class Analysis {
  readonly shapes: Shapes;
  readonly dataflow: Dataflow;
  readonly candidates: readonly Candidate[];
  #throughShapes: Analysis | undefined;
  #left: number;

  constructor(
    readonly model: Model,
    from?: Analysis,
  ) {
    const nodes = [...model.scopes()].reduce((all, scope) => all + scope.nodes.length, 0);
    this.#left = SEARCHED_AT_LEAST + SEARCHED_PER_NODE * nodes;
    this.shapes = from?.shapes ?? new Shapes(model);
    this.dataflow = new Dataflow(model, from !== undefined);
    this.candidates = from?.candidates ?? findCandidates(model, this.dataflow, this.shapes);
  }

  /**
   * Notes that a search looks at so many values.
   * @param at where it begins
   * @throws what `attempt` catches, when all searches together have looked at too many
   */
  spend(values: number, at: Node): void {
    this.#left -= values;
    if (this.#left < 0)
      fail(
        'too-large',
        at,
        'attentions that do not share most of the model',
        'searches that come to too much',
      );
  }

  /** What to look at a candidate with: where its queries are learned, what depends on shapes counts as data too. */
  for({ learned }: Candidate): Analysis {
    if (!learned) return this;
    this.#throughShapes ??= new Analysis(this.model, this);
    return this.#throughShapes;
  }
}
