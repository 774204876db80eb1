import base from '../playwright.config';

/** npm run perf: measurements that print numbers, one at a time, on a machine with nothing else to do. */
export default {
  ...base,
  testDir: '.',
  globalSetup: '../e2e/build.ts',
  outputDir: '../test-results',
  timeout: 180_000,
  workers: 1,
  fullyParallel: false,
};
