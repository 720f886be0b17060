import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { watchForFullDisk } from "../src/full-disk.ts";

test("a server that could not write is ended when there is room, once, and for no other reason", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-disk-"));
  t.after(() => rmSync(folder, { recursive: true }));
  let restarts = 0;
  const restarted = Promise.withResolvers<void>();
  const watch = watchForFullDisk({
    folder,
    restart: () => {
      restarts += 1;
      restarted.resolve();
    },
  });
  watch.onLine("[INF] Server is ready");
  watch.onLine("[ERR] JetStream failed to store a msg: write /x/1.blk: no space left on device");
  watch.onLine("[ERR] JetStream failed to store a msg: write /x/1.blk: no space left on device");
  assert.equal(restarts, 0);
  await restarted.promise;
  watch.onLine("no space left on device");
  assert.equal(restarts, 1);
});

test("a watch that has ended does nothing", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-disk-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const watch = watchForFullDisk({ folder, restart: () => assert.fail("ended") });
  watch.onLine("no space left on device");
  watch.stop();
  await new Promise((resolve) => setTimeout(resolve, 400));
});
