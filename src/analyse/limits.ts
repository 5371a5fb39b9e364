/**
 * How much is worked out before a model runs, whatever its file says: with these, what the analysis costs depends on the
 * size of the file alone. What goes beyond them is no error: it is not known, as if a rule were missing.
 */

/** Elements of a constant that is read, or of a vector of shape arithmetic that is folded. Larger ones are weights. */
export const MOST_ELEMENTS = 64;

/** Axes of a shape. ONNX Runtime's operators that move elements end far below. */
export const MOST_AXES = 64;

/** Terms of a dimension: sums of symbols, as where sequences are joined. */
export const MOST_TERMS = 32;

/** Symbols that one term of a dimension multiplies. */
export const MOST_FACTORS = 32;

/** Letters of a term of a dimension, and of what is divided and rounded. */
export const LONGEST_TERM = 1024;

/** Calls of local functions inside one another that shapes are followed into. */
export const DEEPEST_CALL = 64;

/** Nodes that are visited in bodies of called functions: functions that call functions double with every level. */
export const MOST_CALLED_NODES = 1 << 18;

/** Nodes between the parts of a softmax that is written out: guards, masks and casts. */
export const MOST_AROUND = 256;
