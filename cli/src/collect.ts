/**
 * Gathers an option that may be repeated: `--grant a --grant b`. A list after one `--grant` would swallow the arguments behind it.
 */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
