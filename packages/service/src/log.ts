// Structured logs: one JSON line each, with the trace they belong to, without secrets.
import { trace } from "@opentelemetry/api";
import { type Bindings, type ChildLoggerOptions, type DestinationStream, type Logger as PinoLogger, pino } from "pino";
import { redact } from "./redact.ts";
import { standardOutput } from "./standard-output.ts";

/** A service's log. */
export type Logger = PinoLogger;

export interface LogOptions {
  readonly service: string;
  readonly instanceId: string;
  readonly level: string;
  /** Where the lines go. Default: standard output. */
  readonly destination?: DestinationStream;
}

/** Opens a log. JSON escapes control characters, so that no text can forge a line. */
export function createLog({ service, instanceId, level, destination = standardOutput() }: LogOptions): Logger {
  const options = {
    level,
    base: { service, instance: instanceId },
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: "message",
    // Errors are written by the redaction below, like every other value.
    serializers: { err: (error: unknown) => error },
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: object) => redact(fields) as Record<string, unknown>,
    },
    mixin: () => {
      const span = trace.getActiveSpan()?.spanContext();
      return span ? { traceId: span.traceId, spanId: span.spanId } : {};
    },
  };
  return redactChildren(pino(options, destination));
}

/** What a child is bound to passes no formatter of pino's: it is redacted before. A child's own children are, too. */
function redactChildren(log: Logger, child: unknown = Reflect.get(log, "child")): Logger {
  const makeChild = child as (fields: Bindings, more?: ChildLoggerOptions) => Logger;
  const redacted = (fields: Bindings, more?: ChildLoggerOptions): Logger =>
    redactChildren(Reflect.apply(makeChild, log, [redact(fields), more]), child);
  return Object.assign(log, { child: redacted });
}
