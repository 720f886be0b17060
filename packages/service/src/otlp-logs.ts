// Pushes the log's lines to a collector by OTLP, where OTEL_LOGS_EXPORTER says so. What is sent is what was printed: redacted,
// with its trace; printing does not wait for it.
import { ROOT_CONTEXT, SeverityNumber, trace, TraceFlags } from "@opentelemetry/api";
import { convertLegacyHttpOptions, createOtlpHttpExportDelegate } from "@opentelemetry/otlp-exporter-base/node-http";
import { LogsExporterMetricsHelper, ProtobufLogsSerializer } from "@opentelemetry/otlp-transformer";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider, type LogRecordExporter } from "@opentelemetry/sdk-logs";

/** Lines on their way to a collector. */
export interface LogPush {
  /** Takes a line as it was printed: one JSON object. */
  write(line: string): void;
  /** Sends what is left, for as long as that takes but {@link LAST_LINES_MS}. */
  stop(): Promise<void>;
}

/** A collector that is away must not keep a process from ending. Milliseconds. */
const LAST_LINES_MS = 3000;

const severities: Readonly<Record<string, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};

/**
 * Pushes in batches, each second; of more than 2,048 lines that wait the newest are dropped. A collector that is away is the
 * exporter's business: it tries again and gives up.
 * @param source What the process is: `service.name` and its like.
 */
export function pushLogs(source: Readonly<Record<string, string>>): LogPush {
  const resource: Resource = resourceFromAttributes(source);
  const provider = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: exporter() })],
  });
  const logger = provider.getLogger("@warren/service");
  return {
    write: (line) => {
      const {
        level,
        time,
        message,
        traceId,
        spanId,
        service: _,
        instance: __,
        ...attributes
      } = JSON.parse(line) as Line;
      const within =
        traceId && spanId
          ? trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED })
          : ROOT_CONTEXT;
      logger.emit({
        timestamp: new Date(time),
        severityText: level,
        severityNumber: severities[level] ?? SeverityNumber.UNSPECIFIED,
        ...(message === undefined ? {} : { body: message }),
        attributes,
        context: within,
      });
    },
    stop: async () => {
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, LAST_LINES_MS)));
      await Promise.race([provider.shutdown().catch(() => undefined), patience]);
      clearTimeout(timer);
    },
  };
}

/** A line as `log.ts` writes it; the rest are the fields of its writer. */
interface Line {
  readonly level: string;
  /** ISO 8601. */
  readonly time: string;
  readonly message?: string;
  readonly traceId?: string;
  readonly spanId?: string;
  readonly service?: string;
  readonly instance?: string;
  readonly [field: string]: string | undefined;
}

function exporter(): LogRecordExporter {
  const delegate = createOtlpHttpExportDelegate(
    convertLegacyHttpOptions({}, "LOGS", "v1/logs", { "Content-Type": "application/x-protobuf" }),
    ProtobufLogsSerializer,
    "otlp_http_log_exporter",
    LogsExporterMetricsHelper,
    undefined,
  );
  return {
    export: (records, told) => delegate.export(records, told),
    forceFlush: () => delegate.forceFlush(),
    shutdown: () => delegate.shutdown(),
  };
}
