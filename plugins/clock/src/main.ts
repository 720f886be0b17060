import { definePlugin } from "@warren/plugin-sdk";
import { describeTime } from "./time.ts";

definePlugin({
  name: "clock",
  version: "0.1.0",
  tools: {
    get_current_time: {
      title: "Current time",
      description:
        "Get the current time and date: what time is it now, what day is today, which date or weekday, here (UTC) or in any time zone.",
      inputSchema: {
        type: "object",
        properties: {
          timezone: {
            type: "string",
            minLength: 1,
            maxLength: 64,
            description: "IANA time zone name, such as Europe/Berlin or America/New_York. UTC when left out.",
          },
        },
        additionalProperties: false,
      },
      outputSchema: {
        type: "object",
        properties: {
          iso: { type: "string", description: "ISO 8601 with offset" },
          timezone: { type: "string" },
          utcOffset: { type: "string" },
          text: { type: "string", description: "For people" },
        },
        required: ["iso", "timezone", "utcOffset", "text"],
      },
      annotations: { readOnlyHint: true, openWorldHint: false },
      run: ({ timezone = "UTC" }: { timezone?: string }) => describeTime(new Date(), timezone),
    },
  },
});
