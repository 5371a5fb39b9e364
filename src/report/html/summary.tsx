import { optionsText } from '../inspection-text';
import { bytes, count, duration, plural } from '../text';
import type { ReportContent } from './content';
import { Name, Section, Verdict } from './parts';

/** What was found and done, at a glance. */
export function Summary({ content }: { content: ReportContent }) {
  const { rewrite, inspection, verification, differential, warnings, error } = content;
  const options = rewrite?.options ?? differential?.options;
  const preset = rewrite?.options.preset ?? differential?.preset;
  return (
    <Section id="summary" title="Summary">
      {error && (
        <div class="notice bad">
          <p>
            <strong>{error.message}</strong>
          </p>
          <p>{error.remedy}</p>
        </div>
      )}
      {warnings.length > 0 && (
        <ul class="notice warning" aria-label="warnings">
          {warnings.map((warning) => (
            <li>{warning}</li>
          ))}
        </ul>
      )}
      <dl class="facts">
        {facts(content).map(([title, text]) => (
          <div>
            <dt>{title}</dt>
            <dd>{text}</dd>
          </div>
        ))}
        {verification && (
          <div>
            <dt>Verification on {verification.provider}</dt>
            <dd>
              <Verdict passed={verification.passed} yes="verified" no="not verified" />
            </dd>
          </div>
        )}
      </dl>
      {options && preset && (
        <p>
          Preset <strong>{preset}</strong>: {optionsText(options)}
        </p>
      )}
      {inspection?.differential?.by === 'model' && (
        <p>A differential transformer already, not by diffx: {inspection.differential.how}</p>
      )}
      {verification?.firstDivergingLayer !== undefined && (
        <p>
          First layer that diverges: <Name of={verification.firstDivergingLayer} />
        </p>
      )}
    </Section>
  );
}

function facts({ rewrite, inspection, differential, verification }: ReportContent): [string, string][] {
  const facts: [string, string][] = [];
  if (rewrite) {
    facts.push(['Attentions found', count(rewrite.found)], ['Rewritten', count(rewrite.layers.length)]);
    if (rewrite.notChosen.length > 0) facts.push(['Not chosen', count(rewrite.notChosen.length)]);
    if (rewrite.left.length > 0) facts.push(['Left as they are', count(rewrite.left.length)]);
    facts.push(
      ['Parameters added', count(rewrite.parametersAdded)],
      ['Size', bytes(rewrite.bytes)],
      ['Time', duration(rewrite.milliseconds)],
    );
  } else if (inspection) {
    facts.push(['Attentions found', count(inspection.attentions.length + inspection.notUnderstood.length)]);
    if (inspection.notUnderstood.length > 0)
      facts.push(['Not understood', count(inspection.notUnderstood.length)]);
    if (differential) facts.push(['Differential', count(differential.layers.length)]);
    facts.push(
      ['Parameters', count(inspection.file.parameters)],
      ['Nodes', count(inspection.file.nodes)],
      ['Opset', String(inspection.file.opset)],
    );
  }
  if (verification) facts.push(['Inputs tried', plural(verification.cases.length, 'case')]);
  return facts;
}
