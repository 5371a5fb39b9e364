import { verifyModels } from '../../api/verify';
import { errors } from '../../errors';
import { firstFinding, verificationText } from '../../report/verification-text';
import { plainError } from '../plain-error';
import { serve } from '../serve';

serve<'verify'>(async ({ original, rewritten, atol, ...settings }, { phase, width, style }) => {
  phase(`verifying ${rewritten}`);
  const report = await verifyModels(original, rewritten, {
    ...settings,
    ...(atol === undefined ? {} : { tolerance: { atol, rtol: 0 } }),
  });
  const remedy =
    'Rewrite the original again; if that does not help, report it as a bug of diffx with the original model.';
  return {
    document: report,
    text: verificationText(report, { width, style }),
    ...(report.passed
      ? {}
      : { error: plainError(errors.verificationFailed(rewritten, firstFinding(report), remedy)) }),
  };
});
