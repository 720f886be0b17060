// Requests that were let in without asking anybody go on together, at the end of the turn of the event loop in which they came:
// what they send to NATS then shares a write. Each by itself costs a write, and wakes nats-server and a service for one message:
// with 32 connections that halves what a gateway answers. Those that wait for Redis are together already.

/** The end of the present turn. */
export class Turn {
  #end: Promise<void> | undefined;

  /** Settles when everything that has arrived has been read; the same for all who ask within a turn. */
  end(): Promise<void> {
    this.#end ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#end = undefined;
        resolve();
      });
    });
    return this.#end;
  }
}
