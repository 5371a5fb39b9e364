import { examine } from '../../api/inspect';
import { checkTargets } from '../../onnx';
import { inspectionText } from '../../report/inspection-text';
import { htmlReportOf } from '../html-report';
import { serve } from '../serve';
import { wrote } from '../wrote';

serve<'inspect'>(async (job, ui) => {
  const { input, explain } = job;
  const { width, style } = ui;
  if (job.report !== undefined) checkTargets([job.report], job.force, '--report');
  const html = htmlReportOf(job);
  ui.phase(`reading ${input}`);
  html?.phase('reading and matching');
  const original = examine(input);
  await html?.write({ command: 'inspect', subject: input, original }, ui);
  const { inspection } = original;
  return {
    document: inspection,
    text: [...inspectionText(inspection, { width, style, explain }), ...wrote(job.report, style)],
  };
});
