// Writes the descriptors of all contracts to descriptors.binpb, in proto/gen or in the folder that is named: what the edge, the JSON mapping and the
// validation read at run time. Comments are left out.
import { execFileSync } from "node:child_process";

const paths = ["proto/warren", "proto/grpc", "node_modules/google-proto-files/google/rpc"].flatMap((path) => [
  "--path",
  path,
]);
const folder = process.argv[2] ?? "proto/gen";
execFileSync("buf", ["build", "--exclude-source-info", "-o", `${folder}/descriptors.binpb`, ...paths], {
  stdio: "inherit",
});
