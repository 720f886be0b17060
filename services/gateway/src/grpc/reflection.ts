// What `grpcurl` asks first: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md, of what can be called
// from outside, and no more. Files keep their names, bytes and options; internal methods are left out.
import type { handleBidiStreamingCall } from "@grpc/grpc-js";
import { type AnyDesc, type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { registry } from "@warren/contract";
import { StatusCode } from "@warren/mesh";
import { ServerReflectionRequest, ServerReflectionResponse } from "@warren/proto/grpc/reflection/v1/reflection";
import { bytesMethod, type ServedMethod } from "./contract.ts";

/** Both versions are the same on the wire; the first is what older tools ask for. */
const SERVICES = ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"];
/** Files whose messages travel inside others. */
const ALSO = ["warren.events.v1.ServiceStarted", "google.rpc.BadRequest"];

type Answer = ServerReflectionResponse["messageResponse"];

/** The reflection service, in both of its versions. @param served Names of the methods that can be called, `package.Service/Method`. */
export function reflectionMethods(served: ReadonlySet<string>): ServedMethod[] {
  const reflection = new Reflection(served);
  const handler: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    const sent = new Set<string>();
    call.on("error", () => undefined);
    call.on("end", () => call.end());
    call.on("data", (bytes: Buffer) => {
      let request: ServerReflectionRequest;
      try {
        request = ServerReflectionRequest.decode(bytes);
      } catch {
        call.emit("error", { code: StatusCode.INVALID_ARGUMENT, details: "the request is no ServerReflectionRequest" });
        return;
      }
      const messageResponse = reflection.answer(request, sent);
      const answer = { validHost: request.host, originalRequest: request, messageResponse };
      const more = call.write(Buffer.from(ServerReflectionResponse.encode(answer).finish()));
      if (more) return;
      // Whoever asks and does not read is asked to wait.
      call.pause();
      call.once("drain", () => call.resume());
    });
  };
  return SERVICES.map((service) => ({
    definition: bytesMethod(`/${service}/ServerReflectionInfo`, { requestStream: true, responseStream: true }),
    handler,
  }));
}

/** What is known of the contracts. */
class Reflection {
  readonly #served: ReadonlySet<string>;
  readonly #services: readonly DescService[];
  readonly #files = new Map<string, DescFile>();
  readonly #bytes = new Map<string, Uint8Array>();

  constructor(served: ReadonlySet<string>) {
    this.#served = served;
    this.#services = [...registry].filter(
      (desc) => desc.kind === "service" && this.#methodsOf(desc).length > 0,
    ) as DescService[];
    const roots = [...this.#services.map(({ file }) => file), ...ALSO.map((name) => registry.getMessage(name)?.file)];
    for (const file of roots) if (file) this.#add(file);
  }

  /** @param sent Names of the files that this caller already has. */
  answer({ messageRequest: asked }: ServerReflectionRequest, sent: Set<string>): Answer {
    switch (asked?.$case) {
      case "listServices": {
        const service = this.#services
          .map(({ typeName: name }) => ({ name }))
          .sort((a, b) => (a.name < b.name ? -1 : 1));
        return { $case: "listServicesResponse", value: { service } };
      }
      case "fileByFilename":
        return this.#answerFile(this.#files.get(asked.value), sent, `There is no file ${asked.value}`);
      case "fileContainingSymbol":
        return this.#answerFile(this.#fileOf(asked.value), sent, `There is no symbol ${asked.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = asked.value;
        const found = this.#extensions(containingType).find((each) => each.number === extensionNumber);
        return this.#answerFile(found?.file, sent, `${containingType} has no extension ${extensionNumber}`);
      }
      case "allExtensionNumbersOfType": {
        if (!this.#fileOf(asked.value)) return failure(StatusCode.NOT_FOUND, `There is no type ${asked.value}`);
        const extensionNumber = this.#extensions(asked.value).map((each) => each.number);
        return { $case: "allExtensionNumbersResponse", value: { baseTypeName: asked.value, extensionNumber } };
      }
      case undefined:
        return failure(StatusCode.INVALID_ARGUMENT, "The request asks nothing");
    }
  }

  #answerFile(file: DescFile | undefined, sent: Set<string>, missing: string): Answer {
    if (!file) return failure(StatusCode.NOT_FOUND, missing.slice(0, 512));
    const fileDescriptorProto: Uint8Array[] = [];
    const visit = (each: DescFile): void => {
      const { name } = each.proto;
      if (sent.has(name) && each !== file) return;
      sent.add(name);
      fileDescriptorProto.push(this.#bytesOf(each));
      each.dependencies.forEach(visit);
    };
    visit(file);
    return { $case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  #add(file: DescFile): void {
    if (this.#files.has(file.proto.name)) return;
    this.#files.set(file.proto.name, file);
    file.dependencies.forEach((each) => this.#add(each));
  }

  /** The file of a message, enumeration, extension, service, method, field or value. */
  #fileOf(symbol: string): DescFile | undefined {
    const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf(".")));
    const found = registry.get(symbol) ?? this.#member(registry.get(parent), symbol.slice(parent.length + 1));
    const file = found && "file" in found ? (found.file as DescFile) : undefined;
    return file && this.#files.has(file.proto.name) && !this.#hidden(found) ? file : undefined;
  }

  #member(parent: AnyDesc | undefined, name: string): AnyDesc | undefined {
    const members =
      parent?.kind === "message"
        ? [...parent.fields, ...parent.oneofs]
        : parent?.kind === "enum"
          ? parent.values
          : parent?.kind === "service"
            ? this.#methodsOf(parent)
            : [];
    return members.some((member) => member.name === name) ? parent : undefined;
  }

  #hidden(desc: AnyDesc | undefined): boolean {
    return desc?.kind === "service" && !this.#services.includes(desc);
  }

  #methodsOf(service: DescService): DescService["methods"] {
    return service.methods.filter((method) => this.#served.has(`${service.typeName}/${method.name}`));
  }

  #extensions(type: string) {
    return [...registry].filter(
      (desc) => desc.kind === "extension" && desc.extendee.typeName === type && this.#files.has(desc.file.proto.name),
    ) as Extract<AnyDesc, { kind: "extension" }>[];
  }

  #bytesOf(file: DescFile): Uint8Array {
    const name = file.proto.name;
    const known = this.#bytes.get(name);
    if (known) return known;
    const service = file.proto.service.flatMap((each) => {
      const full = `${file.proto.package}.${each.name}`;
      const method = each.method.filter((one) => this.#served.has(`${full}/${one.name}`));
      return method.length ? [{ ...each, method }] : [];
    });
    const bytes = toBinary(FileDescriptorProtoSchema, { ...file.proto, service });
    this.#bytes.set(name, bytes);
    return bytes;
  }
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { $case: "errorResponse", value: { errorCode, errorMessage } };
}
