// A process that opens connections and says nothing on them: `node idle-connections.ts <port> <number>`. Tells its parent
// when all are open, and ends with it.
import { once } from "node:events";
import { connect } from "node:net";

const AT_ONCE = 250;
const [port, number] = process.argv.slice(2).map(Number);

for (let opened = 0; opened < (number ?? 0); opened += AT_ONCE) {
  const some = Array.from({ length: Math.min(AT_ONCE, (number ?? 0) - opened) }, () =>
    connect(port ?? 0, "127.0.0.1").on("error", () => undefined),
  );
  await Promise.all(some.map((socket) => once(socket, "connect")));
}
process.send?.("open");
process.on("disconnect", () => process.exit());
