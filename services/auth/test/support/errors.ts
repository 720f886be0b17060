import { RpcError, StatusCode } from "@warren/mesh";

/** For `assert.rejects`: an RpcError of this code. */
export function withCode(code: keyof typeof StatusCode): (error: unknown) => boolean {
  return (error) => error instanceof RpcError && error.code === StatusCode[code];
}

/** For `assert.throws` and `assert.rejects`: INVALID_ARGUMENT that names this field. */
export function namesField(field: string): (error: unknown) => boolean {
  return (error) =>
    withCode("INVALID_ARGUMENT")(error) &&
    error instanceof RpcError &&
    error.details.violations?.some((violation) => violation.field === field) === true;
}
