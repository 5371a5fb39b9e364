import { examine } from '../../api/inspect';
import { rewrittenParts } from '../../api/rewritten-parts';
import { verifyModels } from '../../api/verify';
import { checkTargets, memoryBytes, writeFiles } from '../../onnx';
import { junitXml } from '../../report/junit';
import { verificationText } from '../../report/verification-text';
import { htmlReportOf, shownError } from '../html-report';
import { plainError } from '../plain-error';
import { serve } from '../serve';
import { verdict } from '../verdict';
import { wrote } from '../wrote';

serve<'verify'>(async (job, ui) => {
  const { original, rewritten, atol, rtol, junit, report: page, force, ...settings } = job;
  const { width, style } = ui;
  checkTargets([...(junit === undefined ? [] : [junit]), ...(page === undefined ? [] : [page])], force);
  const html = htmlReportOf(job);
  ui.phase(`verifying ${rewritten}`);
  html?.phase('verifying');
  const report = await verifyModels(original, rewritten, {
    ...settings,
    ...(atol === undefined && rtol === undefined ? {} : { tolerance: { atol: atol ?? 0, rtol: rtol ?? 0 } }),
  });
  if (junit !== undefined)
    writeFiles([{ path: junit, bytes: memoryBytes(Buffer.from(junitXml(report))) }], force);
  const remedy =
    'Rewrite the original again; if that does not help, report it as a bug of diffx with the original model.';
  const error = report.passed ? undefined : plainError(verdict(report, rewritten, '', remedy));
  if (html) {
    html.phase('looking at both models, for this page');
    const parts = { original: examine(original), rewritten: rewrittenParts(rewritten) };
    const shown = error && shownError(error);
    await html.write(
      { command: 'verify', subject: rewritten, ...parts, verification: report, error: shown },
      ui,
    );
  }
  return {
    document: report,
    text: [...verificationText(report, { width, style }), ...wrote(page, style)],
    ...(error ? { error } : {}),
  };
});
