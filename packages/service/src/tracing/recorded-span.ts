// One span that is recorded. OpenTelemetry's own span copies and checks attributes, and makes an object for each time and id;
// this one keeps what it is given, and makes the forms that others read when they ask. Most spans are never read.
import {
  type Attributes,
  type AttributeValue,
  type Exception,
  type HrTime,
  type Link,
  type Span,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
} from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { toHrTime, toMs } from "./time.ts";

type Resource = ReadableSpan["resource"];
type Scope = ReadableSpan["instrumentationScope"];

/** Where a span comes from, and where it goes when it has ended. */
export interface SpanOrigin {
  readonly resource: Resource;
  readonly scope: Scope;
  readonly onEnd: (span: ReadableSpan) => void;
}

export interface SpanStart {
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined where the trace begins here. */
  readonly parent: SpanContext | undefined;
  readonly startTime: TimeInput | undefined;
  /** Kept as they are: whoever gave them changes them no more. */
  readonly attributes: Attributes | undefined;
  readonly links: Link[] | undefined;
}

/** Events of one span: what goes round in a loop must not fill memory. */
const MOST_EVENTS = 128;
const NONE: never[] = [];

/** A span of the OpenTelemetry API, which is also its own {@link SpanContext} and what exporters read. */
export class RecordedSpan implements Span, SpanContext, ReadableSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags = TraceFlags.SAMPLED;
  readonly kind: SpanKind;
  readonly parentSpanContext?: SpanContext;
  readonly links: Link[];
  name: string;
  status: SpanStatus = UNSET;
  ended = false;
  droppedEventsCount = 0;
  readonly #origin: SpanOrigin;
  readonly #startMs: number;
  /** On the monotonic clock; undefined where the caller named the start itself. */
  readonly #started: number | undefined;
  readonly #given: Attributes | undefined;
  #endMs = 0;
  #added: Attributes | undefined;
  #addedIsOwn = false;
  #events: ReadableSpan["events"] = NONE;

  constructor(origin: SpanOrigin, start: SpanStart) {
    this.#origin = origin;
    this.traceId = start.traceId;
    this.spanId = start.spanId;
    if (start.parent) this.parentSpanContext = start.parent;
    this.name = start.name;
    this.kind = start.kind;
    this.#given = start.attributes;
    this.links = start.links ?? NONE;
    this.#startMs = start.startTime === undefined ? Date.now() : toMs(start.startTime);
    this.#started = start.startTime === undefined ? performance.now() : undefined;
  }

  spanContext(): SpanContext {
    return this;
  }

  isRecording(): boolean {
    return !this.ended;
  }

  setAttribute(key: string, value: AttributeValue): this {
    if (this.ended) return this;
    if (!this.#addedIsOwn) this.#added = { ...this.#added };
    this.#addedIsOwn = true;
    (this.#added as Attributes)[key] = value;
    return this;
  }

  /** Kept as they are where they are the first: whoever gave them changes them no more. */
  setAttributes(attributes: Attributes): this {
    if (this.ended) return this;
    this.#addedIsOwn = this.#added !== undefined;
    this.#added = this.#added ? { ...this.#added, ...attributes } : attributes;
    return this;
  }

  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    const timed = isTime(attributesOrTime);
    const at = timed ? attributesOrTime : time;
    if (this.ended) return this;
    if (this.#events.length >= MOST_EVENTS) {
      this.droppedEventsCount += 1;
      return this;
    }
    const attributes = timed ? undefined : attributesOrTime;
    const event = { name, time: toHrTime(at === undefined ? Date.now() : toMs(at)), ...(attributes && { attributes }) };
    this.#events = [...this.#events, event];
    return this;
  }

  addLink(link: Link): this {
    return this.addLinks([link]);
  }

  addLinks(links: Link[]): this {
    if (this.ended) return this;
    Object.assign(this, { links: [...this.links, ...links] });
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    const { name = "Error", message = "" } = typeof exception === "string" ? { message: exception } : exception;
    this.addEvent("exception", { "exception.type": name, "exception.message": message }, time);
  }

  setStatus(status: SpanStatus): this {
    // A status of OK is final (OpenTelemetry's specification, "Set Status").
    if (!this.ended && status.code !== SpanStatusCode.UNSET && this.status.code !== SpanStatusCode.OK)
      this.status = status;
    return this;
  }

  updateName(name: string): this {
    if (!this.ended) this.name = name;
    return this;
  }

  end(time?: TimeInput): void {
    if (this.ended) return;
    this.ended = true;
    this.#endMs = Math.max(this.#startMs, time === undefined ? this.#now() : toMs(time));
    this.#origin.onEnd(this);
  }

  get startTime(): HrTime {
    return toHrTime(this.#startMs);
  }

  get endTime(): HrTime {
    return toHrTime(this.#endMs);
  }

  get duration(): HrTime {
    return toHrTime(Math.max(0, this.#endMs - this.#startMs));
  }

  get attributes(): Attributes {
    const all = Object.entries({ ...this.#given, ...this.#added });
    return Object.fromEntries(all.filter(([, value]) => value !== undefined && value !== null));
  }

  get events(): ReadableSpan["events"] {
    return this.#events;
  }

  get resource(): Resource {
    return this.#origin.resource;
  }

  get instrumentationScope(): Scope {
    return this.#origin.scope;
  }

  get droppedAttributesCount(): number {
    return 0;
  }

  get droppedLinksCount(): number {
    return 0;
  }

  /** A span cannot last less because somebody sets the clock. */
  #now(): number {
    return this.#started === undefined ? Date.now() : this.#startMs + performance.now() - this.#started;
  }
}

const UNSET: SpanStatus = { code: SpanStatusCode.UNSET };

function isTime(value: Attributes | TimeInput | undefined): value is TimeInput {
  return typeof value === "number" || value instanceof Date || Array.isArray(value);
}
