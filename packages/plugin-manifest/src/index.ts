export {
  ManifestError,
  type ManifestProblem,
  PackageError,
  type PackageErrorCode,
  PermissionError,
  SignatureError,
  type SignatureErrorCode,
} from "./errors.ts";
export { describeFolder } from "./folder-tree.ts";
export { hostCovers, type HostScope, parseHostScope } from "./host-scope.ts";
export { checkManifest, parseManifest } from "./manifest.ts";
export { type Manifest, type ManifestLimits, manifestSchema } from "./manifest-schema.ts";
export {
  defaultPackageBounds,
  describeFiles,
  type FileEntry,
  type Package,
  type PackageBounds,
  packageDigest,
  type PackageFile,
  packFolder,
} from "./package.ts";
export { grants, missingGrants, parsePermission, type Permission, type PermissionArea } from "./permissions.ts";
export { manifestSchemaText } from "./schema-file.ts";
export {
  keyIdOf,
  type PackageStatement,
  type SignedStatement,
  signPackage,
  type TrustedKeys,
  verifyPackage,
} from "./signature.ts";
export { sweepStore, type UnpackedPackage, unpackInto } from "./unpack.ts";
