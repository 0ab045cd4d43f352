/** Tests run the TypeScript sources as Node runs them: types are stripped, nothing is compiled. */
export default {
  testEnvironment: './fixtures/jest/environment.js',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': './fixtures/jest/strip-types.js' },
  testMatch: ['<rootDir>/{plugin,dicom,inference,training,fixtures}/**/*.test.ts'],
  testTimeout: 60_000,
};
