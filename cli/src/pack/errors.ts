/** A plugin's folder cannot be made into a package. The message says why, and what to do. */
export class PackError extends Error {
  override readonly name = "PackError";
}
