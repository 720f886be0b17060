// An ordered list of models as one: the next is asked where one cannot be reached, as long as nothing of an answer came.
import { RpcError, StatusCode } from "@warren/mesh";
import { ModelError, type ModelErrorKind, type ModelProvider, type StepEvent } from "./provider.ts";

/** Told whenever a model is passed over, so that nobody talks to another model unawares. */
export type OnFallback = (failed: ModelError, next: ModelProvider) => void;

const CODES: Readonly<Record<ModelErrorKind, StatusCode>> = {
  unavailable: StatusCode.UNAVAILABLE,
  misconfigured: StatusCode.FAILED_PRECONDITION,
  rejected: StatusCode.FAILED_PRECONDITION,
};

/**
 * Asks `providers` in order. Only one that is unavailable is passed over: a refused key or request is an error at once,
 * for an operator to mend, and never quietly another model.
 * @throws (from a step) RpcError UNAVAILABLE when none could be reached, FAILED_PRECONDITION when one refused.
 */
export function createFallback(providers: readonly ModelProvider[], onFallback: OnFallback): ModelProvider {
  return {
    name: providers.map((provider) => provider.name).join(","),
    async *step(request): AsyncGenerator<StepEvent> {
      const failures: ModelError[] = [];
      for (const [index, provider] of providers.entries()) {
        let answered = false;
        try {
          for await (const event of provider.step(request)) {
            answered = true;
            yield event;
          }
          return;
        } catch (error) {
          if (!(error instanceof ModelError)) throw error;
          failures.push(error);
          const next = providers[index + 1];
          if (answered || error.kind !== "unavailable" || !next) throw toRpc(failures);
          onFallback(error, next);
        }
      }
    },
  };
}

function toRpc(failures: readonly ModelError[]): RpcError {
  const last = failures.at(-1);
  const code = last ? CODES[last.kind] : StatusCode.UNAVAILABLE;
  const reason = code === StatusCode.UNAVAILABLE ? "MODEL_UNAVAILABLE" : "MODEL_REFUSED";
  const message = `No model answers: ${failures.map((failure) => failure.message).join("; ")}`;
  return new RpcError(code, message, { reason }, { cause: last });
}
