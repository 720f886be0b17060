// The command line of an MCP server, read without a shell: words, quotes, and nothing that a shell would act upon.

/** The command line cannot be used. The message says what is wrong and what is right. */
export class CommandLineRefused extends Error {
  override readonly name = "CommandLineRefused";
  /** Whether it is well-formed, and only this version does not offer it. */
  readonly unsupported: boolean;
  constructor(message: string, unsupported = false) {
    super(message);
    this.unsupported = unsupported;
  }
}

/** `npx [-y] <package>[@version] [arguments]`, read. */
export interface NpxCommand {
  /** As npm is asked for it: `@scope/name@1.2.0`. */
  readonly spec: string;
  /** Without the version. */
  readonly packageName: string;
  readonly args: readonly string[];
}

const MAX_ARGS = 32;
/** Names as npm's registry takes them (https://docs.npmjs.com/cli/configuring-npm/package-json#name), and a version, range or tag. */
const SPEC = /^((?:@[a-z0-9~-][a-z0-9._~-]{0,100}\/)?[a-z0-9~-][a-z0-9._~-]{0,100})(?:@([0-9A-Za-z^~<>=.*+-]{1,64}))?$/;
/** What a shell would act upon outside of quotes. */
const SHELL_SYNTAX = /[|&;<>()$`\\*?[\]{}#!\n\r]/;

/**
 * Reads a command line of npx. Only packages of the registry: no addresses, no folders, no git.
 * @throws CommandLineRefused
 */
export function parseNpx(line: string): NpxCommand {
  const words = splitWords(line);
  const program = words.shift();
  if (program === "uvx" || program === "uv")
    throw new CommandLineRefused(
      "uvx is not offered by this version: install MCP servers that npm has, by npx -y <package>",
      true,
    );
  if (program !== "npx")
    throw new CommandLineRefused(
      `The command line must begin with npx, not ${JSON.stringify(program ?? "")}: npx -y <package>[@version] [arguments]`,
    );
  while (words[0] === "-y" || words[0] === "--yes") words.shift();
  const spec = words.shift() ?? "";
  if (spec.startsWith("-"))
    throw new CommandLineRefused(`npx's option ${spec} is not offered: npx -y <package>[@version] [arguments]`);
  const packageName = SPEC.exec(spec)?.[1];
  if (!packageName)
    throw new CommandLineRefused(
      `${JSON.stringify(spec)} is not the name of a package of npm's registry, with or without @version`,
    );
  if (words.length > MAX_ARGS) throw new CommandLineRefused(`The command line has more than ${MAX_ARGS} arguments`);
  return { spec, packageName, args: words };
}

/** Words of a command line; single and double quotes hold spaces together. */
function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (const character of line) {
    if (character < " " || character === "\u007f")
      throw new CommandLineRefused("The command line has control characters");
    if (quote !== undefined) {
      if (character === quote) quote = undefined;
      else word = (word ?? "") + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= "";
    } else if (character === " ") {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (SHELL_SYNTAX.test(character))
      throw new CommandLineRefused(
        `No shell reads the command line, so ${JSON.stringify(character)} has no meaning in it: put it in quotes, or leave it out`,
      );
    else word = (word ?? "") + character;
  }
  if (quote !== undefined) throw new CommandLineRefused(`A quote ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  return words;
}
