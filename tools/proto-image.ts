// Writes the descriptors of all contracts to proto/gen/descriptors.binpb: what the edge, the JSON mapping and the
// validation read at run time. Comments are left out.
import { execFileSync } from "node:child_process";

const paths = ["proto/warren", "node_modules/google-proto-files/google/rpc"].flatMap((path) => ["--path", path]);
execFileSync("buf", ["build", "--exclude-source-info", "-o", "proto/gen/descriptors.binpb", ...paths], {
  stdio: "inherit",
});
