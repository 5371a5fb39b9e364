import { z } from 'zod';
import { PRESETS } from '../attention/presets';
import { EMITS, INITS } from '../rewrite/options';

/**
 * Everything that a configuration file may say, in one place: what is read is checked against it, and the JSON Schema
 * for editors is made from it. A key without a value (`output_dir:`) counts as not given.
 */

const text = z.string().min(1);
const flag = z.boolean();
const steps = z.int().min(1);

/** The keys of an axolotl configuration that the original converter and its plugin read. */
export const CONVERTER_KEYS = {
  base_model: text.describe('the ONNX model to rewrite, or the folder that holds it'),
  output_dir: text.describe('folder for the rewritten model and the updated configuration'),
  split_heads: flag.describe("use the model's own heads for both components instead of adding projections"),
  zero_init: flag.describe('new weights begin at zero'),
  mirror_weights: flag.describe('new weights begin as copies'),
  sublayer_norm: flag.describe('RMSNorm behind each attention'),
  diff_attention: flag.describe('set in the updated configuration: the model is differential'),
  diff_attn_log_every: steps.describe('steps between two lines of the log of diffx monitor'),
  diff_attn_num_monitor_layers: steps.describe('number of layers that diffx monitor looks at'),
  diff_attn_warmup_steps: z.int().min(0).describe('steps over which diffx monitor raises diff_attn_mix to 1'),
  plugins: z.array(text).describe('plugins of axolotl; that of differential attention is appended'),
};

/** The options of `diffx rewrite` that the original does not have. */
export const OWN_KEYS = {
  preset: z.enum(PRESETS).describe('reference implementation to follow'),
  init: z.enum(INITS).describe('initial values of new weights'),
  norm_eps: z.number().gt(0).lt(1).describe('epsilon of the norm behind each attention'),
  seed: z.int().min(0).describe('seed of the new weights'),
  layers: z
    .union([text, z.int().min(0), z.array(z.union([text, z.int().min(0)])).min(1)])
    .describe('layers to rewrite: "0-3,7", or a list of numbers and ranges'),
  allow_partial: flag.describe('leave attentions that are not understood as they are'),
  emit: z.enum(EMITS).describe('one node per attention, or plain operators'),
  mix_input: flag.describe('add the graph input diff_attn_mix, for warm-up'),
  monitor_layers: steps.describe('layers whose attention maps the model describes in further outputs'),
  weights: text.describe('checkpoint to fill the model from'),
  strict_weights: flag.describe('refuse a checkpoint that does not fit exactly'),
  save_weights: text.describe('where to save the attention parameters as a checkpoint'),
  strip_prefix: text.describe('leading part of module paths to leave out of the keys of save_weights'),
  verify: flag.describe('prove the result before it is written'),
  inputs: text.describe('safetensors file with the inputs to verify with'),
  report: text.describe('where to write a report with pictures and charts, as one HTML file'),
  require_ep: z.enum(['compute', 'all']).describe('what must run on the execution provider'),
  atol: z.number().min(0).describe('largest absolute difference; for diffx verify'),
  rtol: z.number().min(0).describe('the same in units of the value; for diffx verify'),
  ep: z.union([text, z.array(text).min(1)]).describe('execution providers to verify on'),
  dump_after: z.array(text).describe('passes after which the model is printed'),
  dump_dir: text.describe('folder to print to'),
  force: flag.describe('overwrite files that exist'),
};

const ALL_KEYS = { ...CONVERTER_KEYS, ...OWN_KEYS };
export type Key = keyof typeof ALL_KEYS;
export type Settings = { [K in Key]?: z.output<(typeof ALL_KEYS)[K]> | undefined };

export const KEYS = Object.keys(ALL_KEYS) as readonly Key[];
export const CONVERTER_KEY_NAMES: readonly string[] = Object.keys(CONVERTER_KEYS);

/** Those of them that are true or false. */
export const CONVERTER_SWITCHES: readonly string[] = Object.entries(CONVERTER_KEYS).flatMap(
  ([key, schema]) => (schema instanceof z.ZodBoolean ? [key] : []),
);

/** `diffx.config.json` and its like: nothing but settings of diffx. */
const WORKING = z.object(ALL_KEYS).partial();
/** An axolotl configuration: settings of diffx that axolotl has no name for are under `diffx`. */
const AXOLOTL = z
  .object({
    ...CONVERTER_KEYS,
    diffx: z.strictObject(OWN_KEYS).partial().describe('further settings of diffx'),
  })
  .partial();

/** `working`: a diffx.config file. `axolotl`: the file of `--config`, most of which is axolotl's. */
export type Kind = 'working' | 'axolotl';
export const SCHEMAS = { working: WORKING, axolotl: AXOLOTL } as const;

/** The JSON Schema of a kind of file, for editors and other programs. */
export function jsonSchema(kind: Kind): object {
  const titles = {
    working: 'diffx.config.json',
    axolotl: 'axolotl configuration for diffx rewrite --config',
  };
  const schema = z.toJSONSchema(SCHEMAS[kind], { io: 'input' });
  const { $schema, ...rest } = schema;
  const open = kind === 'axolotl';
  // A line of its own for an editor: "$schema" in the file.
  const properties = open ? rest.properties : { $schema: { type: 'string' }, ...rest.properties };
  return { $schema, title: titles[kind], ...rest, properties, additionalProperties: open };
}
