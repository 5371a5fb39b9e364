/**
 * For processes that the code under test starts from a source file: they read TypeScript. See `environment.js`.
 */
require.extensions['.ts'] ??= (module, file) => {
  const { transformFileSync } = require('@swc/core');
  const options = {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  };
  module._compile(transformFileSync(file, options).code, file);
};
