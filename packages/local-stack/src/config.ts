// The environment of this process: the one place where it is read.

/** Every variable. Servers and services get only what they need of it. */
export function environment(): NodeJS.ProcessEnv {
  return process.env;
}
