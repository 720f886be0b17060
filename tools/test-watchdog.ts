// Loaded into every test file's process: ends one that does not end by itself, and says what kept it.
// `--test-timeout` limits tests, not their process: a socket that a failed test left open would keep the whole run waiting.
import process from "node:process";

/** Longer than any test file takes, in milliseconds. */
const LONGEST_MS = 300_000;

if (process.env["NODE_TEST_CONTEXT"] !== undefined)
  setTimeout(() => {
    const kept = process.getActiveResourcesInfo().join(", ");
    process.stderr.write(`${process.argv[1]} did not end within ${LONGEST_MS / 1000} s; still open: ${kept}\n`);
    process.exit(1);
  }, LONGEST_MS).unref();
