// Tells the mesh what happened in a conversation, after the fact: a turn never waits for it, nor fails by it.
import type { Mesh } from "@warren/mesh";
import { AgentMessageSent, SessionCreated } from "@warren/proto/warren/events/v1/events";
import type { TurnObserver } from "./loop.ts";

/** Where trouble goes: a logger of the service. */
export interface ProblemLog {
  warn(fields: object, text: string): void;
}

/** Publishes `session.created` and `agent.message.sent`; trouble goes to the log. */
export function createObserver(
  mesh: Pick<Mesh, "publish">,
  log: ProblemLog,
  now: () => Date = () => new Date(),
): TurnObserver {
  const trouble = (what: string, error: unknown): void => log.warn({ err: error }, what);
  const tell = (published: Promise<void>): void => {
    published.catch((error: unknown) => trouble("An event could not be published", error));
  };
  return {
    sessionCreated: ({ id, owner }) =>
      tell(mesh.publish(SessionCreated, { sessionId: id, principal: owner.principal, time: now() })),
    completed: ({ id, owner }, turnId, response) =>
      tell(
        mesh.publish(AgentMessageSent, {
          sessionId: id,
          turnId,
          principal: owner.principal,
          toolCalls: response.toolCalls.length,
          time: now(),
        }),
      ),
    trouble,
  };
}
