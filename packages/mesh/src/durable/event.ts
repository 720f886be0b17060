// Events as those who receive them see them.
import type { MessageType } from "../definition.ts";
import { parseEventSubject } from "./event-names.ts";

/** The code that ts-proto generates for an event. */
export type EventType<T> = Pick<MessageType<T>, "$type" | "encode" | "decode"> & { fromPartial(partial: never): T };

/** What a subscriber learns beside the event. */
export interface EventMeta {
  readonly subject: string;
  /** Which of many, where the publisher said so. */
  readonly key: string | undefined;
}

/** An event whose type is known only when it comes. */
export class AnyEvent implements EventMeta {
  readonly subject: string;
  /** `plugin.state.changed`. */
  readonly name: string;
  readonly key: string | undefined;
  /** The message's full name; undefined when this process's contracts do not know the event. */
  readonly typeName: string | undefined;
  /** The message as it was sent. */
  readonly data: Uint8Array;

  constructor(subject: string, data: Uint8Array) {
    const { name, key, typeName } = parseEventSubject(subject);
    this.subject = subject;
    this.data = data;
    this.name = name;
    this.key = key;
    this.typeName = typeName;
  }

  /** The message, if it is of this type; else undefined. */
  as<T>(type: EventType<T>): T | undefined {
    return this.typeName === type.$type ? type.decode(this.data) : undefined;
  }
}
