import semver from "semver";
import { z } from "zod";
import { PermissionError } from "./errors.ts";
import { parsePermission } from "./permissions.ts";
import { relativePathProblem } from "./relative-path.ts";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const idPattern = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const idHint = "lower-case letters, digits and hyphens, beginning and ending with a letter or digit";

/** A string that a function finds something wrong with, or nothing. */
function checked(problem: (text: string) => string | undefined) {
  return z.string().superRefine((text, context) => {
    const message = problem(text);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });
}

/** Text for people. It reaches terminals and consoles, so it may neither control them nor reorder what they show. */
function line(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^[^\p{Cc}\p{Bidi_Control}]*$/u, "must be one line without control characters");
}

const pluginId = z.string().max(48).regex(idPattern, idHint);
const semverRange = checked((text) =>
  semver.validRange(text) === null ? `"${text}" is not a semver range such as ^1.2.0` : undefined,
);
const pathInside = checked((text) => {
  const problem = relativePathProblem(text);
  return problem === undefined ? undefined : `the path ${problem}`;
});
const permission = checked((text) => {
  try {
    parsePermission(text);
    return undefined;
  } catch (error) {
    if (error instanceof PermissionError) return error.message;
    throw error;
  }
});
const permissionList = z
  .array(permission)
  .max(64)
  .refine((list) => new Set(list).size === list.length, "names a permission twice")
  .default([]);

const permissions = z
  .strictObject({
    required: permissionList.describe("Granted by a person at install, or the plugin is not installed."),
    optional: permissionList.describe("Asked for at run time. The plugin must work without them."),
  })
  .prefault({})
  .describe("What the plugin may do outside its sandbox, as `area:action[:scope]`. Nothing else is allowed.");

const limits = z
  .strictObject({
    memoryBytes: z
      .int()
      .min(8 * MiB)
      .max(64 * GiB)
      .default(256 * MiB)
      .describe("Bytes of memory, all processes together."),
    cpus: z.number().min(0.05).max(64).default(1).describe("CPUs: 0.5 is half of one."),
    maxProcesses: z.int().min(1).max(4096).default(64).describe("Processes and threads."),
    callTimeoutMs: z
      .int()
      .min(100)
      .max(600_000)
      .default(30_000)
      .describe("Longest time for one call, in milliseconds."),
    maxOpenFiles: z.int().min(16).max(65_536).default(256).describe("Open files of each process."),
    tmpBytes: z
      .int()
      .min(0)
      .max(4 * GiB)
      .default(16 * MiB)
      .describe("Bytes of its private /tmp."),
  })
  .prefault({})
  .describe("What the plugin may use. An operator can lower these, never the plugin raise them.");

const dependencies = z
  .strictObject({
    plugins: z.record(pluginId, semverRange).default({}).describe("Other plugins by id, each with a semver range."),
    system: z
      .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, "must be a program's name such as ffmpeg"))
      .max(64)
      .default([])
      .describe("Programs that must be on PATH inside the sandbox."),
    packages: z
      .record(line(214), line(128))
      .default({})
      .describe("Packages of its language by name, each with a version or range in that language's notation."),
  })
  .prefault({})
  .describe("What must be there before the plugin can start.");

const person = z.union([
  line(128),
  z.strictObject({ name: line(128), email: z.email().max(254).optional(), url: z.url().max(2048).optional() }),
]);

const common = {
  $schema: z.string().max(2048).optional().describe("For editors. Warren ignores it."),
  id: pluginId.describe(`The plugin's id in the mesh: ${idHint}, at most 48.`),
  version: checked((text) =>
    text.length <= 128 && semver.valid(text) === text ? undefined : `"${text}" is not a semantic version such as 1.2.0`,
  ).describe("Semantic version 2.0.0."),
  name: line(64).describe("The name people see."),
  description: line(1024).describe("What it is good for, in a sentence or two."),
  author: person.optional().describe("Who made it: a name, or an object with name, email and url."),
  licence: line(128).optional().describe("SPDX expression such as Apache-2.0."),
  apiVersion: z.literal("1").default("1").describe("Version of Warren's plugin API. Absent means the first."),
  capabilities: z
    .array(
      z
        .string()
        .max(128)
        .regex(/^[a-z0-9]+(?:[.-][a-z0-9]+)*(?:@\d+\.\d+\.\d+)?$/, "must be a dotted name, or name@1.2.3"),
    )
    .max(64)
    .default([])
    .describe("What it offers to others, for discovery: `name` or `name@version`."),
  permissions,
  limits,
  isolation: z
    .enum(["none", "process", "container", "vm"])
    .default("process")
    .describe("The weakest isolation it may run in. `none` is only for code signed with the operator's own key."),
  dependencies,
  config: z
    .looseObject({ type: z.literal("object") })
    .optional()
    .describe("JSON Schema of its configuration. Fields with `writeOnly: true` are masked wherever they are shown."),
  integrity: z
    .record(pathInside, z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 hexadecimal digits"))
    .default({})
    .describe("Files whose content is pinned, by path. Checked when packing and when unpacking."),
};

/** Plugins that are a program of their own in the package. */
export const entrySchema = z.strictObject({
  ...common,
  runtime: z.enum(["node", "python", "wasm", "native"]).describe("What runs the entry point. Go and Rust are native."),
  entry: pathInside.describe("The entry point, relative to the plugin's folder."),
});

/** MCP stdio servers, started by a command. */
export const commandSchema = z.strictObject({
  ...common,
  runtime: z.literal("mcp").describe("Any MCP stdio server, unmodified."),
  command: z
    .array(
      z
        .string()
        .min(1)
        .max(4096)
        .regex(/^[^\0]*$/, "has a NUL character"),
    )
    .min(1)
    .max(64)
    .describe("The command line, run inside the sandbox in the plugin's folder. No shell reads it."),
});

/** `plugin.json`. */
export const manifestSchema = z
  .discriminatedUnion("runtime", [entrySchema, commandSchema])
  .describe("The manifest of a Warren plugin: plugin.json.");

/** A manifest that was checked, with every default filled in. `runtime` tells whether it has `entry` or `command`. */
export type Manifest = z.infer<typeof manifestSchema>;

/** What a plugin may use at most. Bytes, CPUs, milliseconds and counts. */
export type ManifestLimits = z.infer<typeof limits>;
