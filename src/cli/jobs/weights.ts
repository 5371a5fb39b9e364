import { saveWeights } from '../../api/weights';
import { savedText } from '../../report/weights';
import { serve } from '../serve';

serve<'weights'>(({ original, rewritten, output, ...settings }, { phase, style }) => {
  phase(`writing ${output}`);
  const saved = saveWeights(original, rewritten, output, settings);
  return { document: saved, text: savedText(saved, style) };
});
