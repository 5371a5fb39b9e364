/** diffx as a library: everything the command line does, without process.exit and without output. */
export { rewriteModel, rewrittenBytes, writeRewritten } from './api/rewrite';
export { DiffxError, ExitCode } from './errors';
