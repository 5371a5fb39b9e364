import { doctor } from '../../api/doctor';
import { errors } from '../../errors';
import { doctorText } from '../../report/doctor-text';
import { plainError } from '../plain-error';
import { serve } from '../serve';

serve<'doctor'>(async ({ ep }, { phase, width, style }) => {
  phase('trying execution providers');
  const diagnosis = await doctor(ep);
  // Without --ep it is a question, and what is not there is an answer.
  const failed = ep.length === 0 ? undefined : diagnosis.providers.find(({ starts }) => !starts);
  const { name = '', problem } = failed ?? {};
  return {
    document: diagnosis,
    text: doctorText(diagnosis, { width, style }),
    ...(problem
      ? { error: plainError(errors.providerUnavailable(name, problem.missing, problem.remedy)) }
      : {}),
  };
});
