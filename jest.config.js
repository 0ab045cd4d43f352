/** Tests run the TypeScript sources as Node runs them: types are stripped, nothing is compiled. */
export default {
  testEnvironment: './fixtures/jest/environment.js',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': './fixtures/jest/strip-types.js' },
  testMatch: ['<rootDir>/{plugin,dicom,inference,training,fixtures}/**/*.test.ts'],
  // A busy machine is many times slower than a quiet one.
  testTimeout: 300_000,
  // Most tests wait for a node or another program, not for a processor.
  maxWorkers: '100%',
};
