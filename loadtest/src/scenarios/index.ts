// Every scenario, in the order in which `all` runs them.
import type { Scenario } from "../scenario.ts";
import { chat } from "./chat.ts";
import { grpc } from "./grpc.ts";
import { pairing } from "./pairing.ts";
import { rateLimit } from "./rate-limit.ts";
import { scaleOut } from "./scale-out.ts";
import { soak } from "./soak.ts";
import { streaming } from "./streaming.ts";
import { toolCall } from "./tool-call.ts";

export const scenarios: readonly Scenario[] = [rateLimit, toolCall, chat, streaming, grpc, pairing, scaleOut, soak];
