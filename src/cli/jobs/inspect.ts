import { inspectModel } from '../../api/inspect';
import { inspectionText } from '../../report/inspection-text';
import { serve } from '../serve';

serve<'inspect'>(({ input, explain }, { phase, width, style }) => {
  phase(`reading ${input}`);
  const inspection = inspectModel(input);
  return { document: inspection, text: inspectionText(inspection, { width, style, explain }) };
});
