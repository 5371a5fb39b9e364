import { type Candidate, Dataflow, findCandidates, Shapes } from '../analyse';
import type { Model } from '../ir';

/** What recognisers know of a model. Worked out once; a model that has changed needs a new one. */
export class Analysis {
  readonly shapes: Shapes;
  readonly dataflow: Dataflow;
  readonly candidates: readonly Candidate[];

  constructor(readonly model: Model) {
    this.shapes = new Shapes(model);
    this.dataflow = new Dataflow(model);
    this.candidates = findCandidates(model, this.dataflow);
  }
}
