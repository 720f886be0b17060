// What clients were told is done, and whether it still is: nothing that was acknowledged may be lost.
import { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import type { Target } from "@warren/loadtest/target";
import { waitUntil } from "@warren/testing";
import type { System } from "./system.ts";

/** Acknowledged work since the last {@link Ledger.settle}. */
export class Ledger {
  /** Texts that were answered, by conversation. */
  readonly #chats = new Map<string, string[]>();
  readonly #secrets = new Map<string, string>();
  /** Accesses that were answered: `put name`, `get name`. */
  readonly #accesses = new Set<string>();
  readonly #audited = new Set<string>();
  #auditSequence = 0;
  readonly #target: Target;
  readonly #system: System;

  constructor(system: System, target: Target) {
    this.#system = system;
    this.#target = target;
  }

  chat(sessionId: string, text: string): void {
    const texts = this.#chats.get(sessionId);
    if (texts) texts.push(text);
    else this.#chats.set(sessionId, [text]);
  }

  secret(action: "put" | "get", name: string, value: string): void {
    if (action === "put") this.#secrets.set(name, value);
    this.#accesses.add(`${action} ${name}`);
  }

  /** Looks everything up that was acknowledged. @returns what is lost, a line each. */
  async settle(): Promise<string[]> {
    const lost = [
      ...(await this.#lostChats()),
      ...(await this.#lostSecrets()),
      ...(await this.#lostAudit()),
      ...(await this.#lostThings("/v1/devices", "devices", "the device", ({ name }) => name === "chaos")),
      ...(await this.#lostThings("/v1/plugins", "plugins", "the plugin", ({ id }) => id === "clock")),
    ];
    this.#chats.clear();
    this.#secrets.clear();
    this.#accesses.clear();
    return lost;
  }

  async #lostChats(): Promise<string[]> {
    const lost: string[] = [];
    for (const [id, texts] of this.#chats) {
      const { status, text } = await this.#target.request("GET", `/v1/sessions/${id}`);
      for (const said of texts)
        if (status !== 200 || !text.includes(said)) lost.push(`chat message "${said}": ${status}`);
    }
    return lost;
  }

  async #lostSecrets(): Promise<string[]> {
    const lost: string[] = [];
    for (const [name, value] of this.#secrets) {
      const { status, text } = await this.#target.request("GET", `/v1/secrets/${name}`);
      if (status !== 200 || !text.includes(value)) lost.push(`secret ${name}: ${status}`);
    }
    return lost;
  }

  /** An access is in the audit, or, where that could not keep it, in the log of the service. */
  async #lostAudit(): Promise<string[]> {
    const missing = (): string[] => [...this.#accesses].filter((access) => !this.#audited.has(access));
    await waitUntil("the audit of everything", 5000, async () => {
      await this.#readAudit();
      return missing().length === 0 ? true : undefined;
    }).catch(() => undefined);
    const logged = this.#system.lines.filter((line) => line.includes("the audit event could not be published"));
    return missing()
      .filter((access) => !logged.some((line) => line.includes(`"name":"${access.split(" ")[1]}"`)))
      .map((access) => `audit of ${access}`);
  }

  async #readAudit(): Promise<void> {
    for (;;) {
      const page = await this.#system.mesh.auditLog({ after: this.#auditSequence, limit: 1000 });
      for (const { event, sequence } of page) {
        this.#auditSequence = sequence;
        const accessed = event.as(SecretAccessed);
        if (accessed) this.#audited.add(`${accessed.action} ${accessed.name}`);
      }
      if (page.length === 0) return;
    }
  }

  async #lostThings(
    path: string,
    list: string,
    what: string,
    matches: (thing: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<string[]> {
    const { status, text } = await this.#target.request("GET", path);
    const things = status === 200 ? (JSON.parse(text) as Record<string, Record<string, unknown>[]>)[list] : [];
    return things?.some(matches) ? [] : [`${what}: ${status}`];
  }
}
