// A stream of messages as a stream of something else.

/** By hand and not by a generator, which costs several promises for each message. */
export function mapEach<From, To>(messages: AsyncIterable<From>, map: (message: From) => To): AsyncIterable<To> {
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = messages[Symbol.asyncIterator]();
      return {
        next: async () => {
          const { done, value } = (await iterator.next()) as IteratorResult<From, undefined>;
          return done ? { done, value: undefined } : { done: false, value: map(value) };
        },
        return: async () => {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
