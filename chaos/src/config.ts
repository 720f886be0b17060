// The environment of a run: the one place where it is read.

/** Every variable: npm, caches and the like are found through it. */
export function environment(): NodeJS.ProcessEnv {
  return process.env;
}
