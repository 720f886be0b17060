// The environment of a test run: the one place where it is read.

/** Every variable: a stack under test finds npm, caches and the like through it. */
export function environment(): NodeJS.ProcessEnv {
  return process.env;
}
