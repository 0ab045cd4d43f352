/** Tests run the TypeScript sources as Node runs them: types are stripped, nothing is compiled. */
export default {
  testEnvironment: './fixtures/jest/environment.js',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': './fixtures/jest/strip-types.js' },
  testMatch: ['<rootDir>/{plugin,dicom,inference,training,fixtures}/**/*.test.ts'],
  testTimeout: 60_000,
  // Most tests wait for a node or another program, not for a processor.
  maxWorkers: '100%',
};
