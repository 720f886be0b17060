import { Console } from "node:console";
import { fstatSync } from "node:fs";
import { Socket } from "node:net";
import type { Duplex, Readable, Writable } from "node:stream";
import { readEnvironment } from "./config.ts";
import { HostError } from "./host-channel.ts";

const hostDescriptor = 4;

/** What a plugin is connected to. */
export interface PluginIo {
  /** MCP from the host. Its end is the order to stop. */
  readonly input: Readable;
  /** MCP to the host. */
  readonly output: Writable;
  /** Writes a line to the plugin's log. */
  readonly log: (text: string) => void;
  /** Opens the host channel, or throws HostError where the host gave none. */
  readonly connectHost: () => Duplex;
  /** Whether to open it at once. */
  readonly opensHostChannel: boolean;
  /** Ends the process, once everything written has left it. */
  readonly exit: (code: number) => void;
  /** Calls back when the process is asked to end. */
  readonly onTerminate: (stop: () => void) => void;
}

/**
 * The process's own stdin, stdout and fd 4. `console` writes to stderr from now on: one `console.log` on stdout would
 * break the protocol.
 */
export function processIo(): PluginIo {
  // Looked at before the plugin opens anything, which might be given the same number.
  const hasHostChannel = isSocket(hostDescriptor);
  globalThis.console = new Console(process.stderr, process.stderr);
  return {
    input: process.stdin,
    output: process.stdout,
    log: (text) => void process.stderr.write(`${text}\n`),
    connectHost: () => connectHost(hasHostChannel),
    opensHostChannel: readEnvironment().opensHostChannel,
    exit: (code) => void process.stdout.write("", () => process.exit(code)),
    onTerminate: (stop) => void process.once("SIGTERM", stop),
  };
}

/** Without a channel, fd 4 may be something of Node.js itself, which must not be written to: only a socket will do. */
function connectHost(hasHostChannel: boolean): Duplex {
  if (!hasHostChannel) {
    throw new HostError(
      "UNAVAILABLE",
      "this plugin has no channel to the host: name what it needs under permissions in plugin.json, such as secrets:lease:<name>",
    );
  }
  return new Socket({ fd: hostDescriptor, readable: true, writable: true });
}

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
