import { type Candidate, Dataflow, findCandidates, Shapes } from '../analyse';
import type { Model } from '../ir';

/** What recognisers know of a model. Worked out once; a model that has changed needs a new one. */
export class Analysis {
  readonly shapes: Shapes;
  readonly dataflow: Dataflow;
  readonly candidates: readonly Candidate[];
  #throughShapes: Analysis | undefined;

  constructor(
    readonly model: Model,
    from?: Analysis,
  ) {
    this.shapes = from?.shapes ?? new Shapes(model);
    this.dataflow = new Dataflow(model, from !== undefined);
    this.candidates = from?.candidates ?? findCandidates(model, this.dataflow, this.shapes);
  }

  /** What to look at a candidate with: where its queries are learned, what depends on shapes counts as data too. */
  for({ learned }: Candidate): Analysis {
    if (!learned) return this;
    this.#throughShapes ??= new Analysis(this.model, this);
    return this.#throughShapes;
  }
}
