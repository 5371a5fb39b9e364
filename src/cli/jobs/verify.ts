import { verifyModels } from '../../api/verify';
import { checkTargets, memoryBytes, writeFiles } from '../../onnx';
import { junitXml } from '../../report/junit';
import { verificationText } from '../../report/verification-text';
import { plainError } from '../plain-error';
import { serve } from '../serve';
import { verdict } from '../verdict';

serve<'verify'>(
  async ({ original, rewritten, atol, rtol, junit, force, ...settings }, { phase, width, style }) => {
    if (junit !== undefined) checkTargets([junit], force, '--junit');
    phase(`verifying ${rewritten}`);
    const report = await verifyModels(original, rewritten, {
      ...settings,
      ...(atol === undefined && rtol === undefined
        ? {}
        : { tolerance: { atol: atol ?? 0, rtol: rtol ?? 0 } }),
    });
    if (junit !== undefined)
      writeFiles([{ path: junit, bytes: memoryBytes(Buffer.from(junitXml(report))) }], force);
    const remedy =
      'Rewrite the original again; if that does not help, report it as a bug of diffx with the original model.';
    return {
      document: report,
      text: verificationText(report, { width, style }),
      ...(report.passed ? {} : { error: plainError(verdict(report, rewritten, '', remedy)) }),
    };
  },
);
