// Structured logs: one JSON line each, with the trace they belong to, without secrets.
import { trace } from "@opentelemetry/api";
import { type DestinationStream, type Logger as PinoLogger, pino } from "pino";
import { redact } from "./redact.ts";

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
export function createLog({ service, instanceId, level, destination }: LogOptions): Logger {
  const options = {
    level,
    base: { service, instance: instanceId },
    timestamp: pino.stdTimeFunctions.isoTime,
    messageKey: "message",
    // Errors are written by the redaction below, like every other value.
    serializers: { err: (error: unknown) => error },
    formatters: {
      level: (label: string) => ({ level: label }),
      bindings: (fields: object) => redact(fields) as Record<string, unknown>,
      log: (fields: object) => redact(fields) as Record<string, unknown>,
    },
    mixin: () => {
      const span = trace.getActiveSpan()?.spanContext();
      return span ? { traceId: span.traceId, spanId: span.spanId } : {};
    },
  };
  return destination ? pino(options, destination) : pino(options);
}
