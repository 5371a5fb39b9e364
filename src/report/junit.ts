import builder from 'junit-report-builder';
import type { VerifyReport } from '../verify/report';
import { printable } from './printable';

/**
 * A verification as JUnit XML, which the test reports of pipelines read: one test suite for the rewritten model, one test
 * for each check, and one that is skipped for whatever was not looked at.
 */
export function junitXml(report: VerifyReport): string {
  // XML has no control characters, not even as references.
  const made = builder.newBuilder();
  const suite = made.testSuite().name(printable(`diffx verify ${report.rewritten}`));
  suite.property('original', printable(report.original));
  suite.property('provider', printable(report.provider));
  const className = (provider = 'cpu') => `diffx.verify.${provider.replaceAll(/[^\w-]+/g, '_')}`;
  for (const { name, states, provider, findings, passed, compared } of report.checks) {
    const test = suite.testCase().className(className(provider)).name(`${name}: ${states}`);
    if (passed) continue;
    const lines = findings.map(({ layer, message }) =>
      printable(layer === undefined ? message : `${layer}: ${message}`),
    );
    const [first = compared === 0 ? 'nothing was compared' : name] = lines;
    test.failure(first, name).stacktrace(lines.join('\n'));
  }
  for (const what of report.notVerified)
    suite.testCase().className(className()).name(printable(what)).skipped();
  return made.build();
}
