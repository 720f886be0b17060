// Some forty tools of unrelated plugins, named and shaped like those people install: a haystack for choosing one.
import type { JsonObject, ModelTool } from "../../src/model/provider.ts";

const text = { type: "string" };
const path = { type: "string", description: "Where it is" };

function tool(name: string, description: string, properties: JsonObject = {}, required: string[] = []): ModelTool {
  return { name, description, inputSchema: { type: "object", properties, required } };
}

/** Forty-odd tools, alike enough to be mistaken for each other. */
export function manyTools(): ModelTool[] {
  return [
    tool("get_current_time", "Tells the date and the time of day, in any time zone.", {
      timezone: { type: "string", description: "IANA name, such as Europe/Berlin. Default: UTC" },
    }),
    tool("reverse_text", "Reverses a text.", { text }, ["text"]),
    tool("word_count", "Counts the words, lines and characters of a text.", { text }, ["text"]),
    tool("echo", "Sends back the message it was given.", { message: text }, ["message"]),
    tool("get-sum", "Adds two numbers and returns their sum.", { a: { type: "number" }, b: { type: "number" } }, [
      "a",
      "b",
    ]),
    tool("get-env", "Prints all environment variables, for debugging the server's configuration."),
    tool("get-tiny-image", "Returns a very small picture of the MCP logo."),
    tool(
      "get-annotated-message",
      "Shows how annotations give metadata about content.",
      {
        messageType: { type: "string", enum: ["error", "success", "debug"] },
        includeImage: { type: "boolean", default: false },
      },
      ["messageType"],
    ),
    tool("get-resource-links", "Returns a number of links to different kinds of resource.", {
      count: { type: "number" },
    }),
    tool("get-resource-reference", "Returns a reference to a resource that a client can use.", {
      resourceType: { type: "string", enum: ["Text", "Blob"] },
      resourceId: { type: "number" },
    }),
    tool(
      "get-structured-content",
      "Returns structured content along with an output schema, for validation by the client.",
      {
        location: { type: "string", enum: ["New York", "Chicago", "Los Angeles"], description: "Choose a city" },
      },
      ["location"],
    ),
    tool("get-roots-list", "Lists the current roots that the client gave."),
    tool("gzip-file-as-resource", "Compresses one file with gzip and returns it as a resource.", {
      name: text,
      data: { type: "string", format: "uri" },
      outputType: { type: "string", enum: ["resourceLink", "resource"] },
    }),
    tool("toggle-simulated-logging", "Switches simulated log messages of random levels on or off."),
    tool("toggle-subscriber-updates", "Switches simulated resource subscription updates on or off."),
    tool("trigger-long-running-operation", "Demonstrates a long running operation with progress updates.", {
      duration: { type: "number" },
      steps: { type: "number" },
    }),
    tool(
      "simulate-research-query",
      "Simulates a deep research operation in several stages.",
      { topic: text, ambiguous: { type: "boolean" } },
      ["topic"],
    ),
    tool(
      "read_file",
      "Reads the whole of a file as text. DEPRECATED: use read_text_file.",
      { path, head: { type: "number" }, tail: { type: "number" } },
      ["path"],
    ),
    tool(
      "read_text_file",
      "Reads the complete contents of a file from the file system as text.",
      { path, head: { type: "number" }, tail: { type: "number" } },
      ["path"],
    ),
    tool("read_media_file", "Reads an image or an audio file and returns it in base64 with its MIME type.", { path }, [
      "path",
    ]),
    tool(
      "read_multiple_files",
      "Reads the contents of several files at once.",
      { paths: { type: "array", items: { type: "string" } } },
      ["paths"],
    ),
    tool(
      "write_file",
      "Creates a new file or overwrites an existing one with new text content.",
      { path, content: text },
      ["path", "content"],
    ),
    tool(
      "edit_file",
      "Makes line-based edits to a text file and shows the difference.",
      {
        path,
        edits: { type: "array", items: { type: "object" } },
        dryRun: { type: "boolean", default: false },
      },
      ["path", "edits"],
    ),
    tool("create_directory", "Creates a directory, or makes sure that it exists.", { path }, ["path"]),
    tool("list_directory", "Lists the files and directories in a given path, marked [FILE] and [DIR].", { path }, [
      "path",
    ]),
    tool(
      "list_directory_with_sizes",
      "Lists the files and directories in a given path, including their sizes.",
      {
        path,
        sortBy: { type: "string", enum: ["name", "size"] },
      },
      ["path"],
    ),
    tool(
      "directory_tree",
      "Returns a recursive tree of files and directories as JSON.",
      {
        path,
        excludePatterns: { type: "array", items: { type: "string" }, default: [] },
      },
      ["path"],
    ),
    tool("move_file", "Moves or renames files and directories.", { source: text, destination: text }, [
      "source",
      "destination",
    ]),
    tool(
      "search_files",
      "Searches recursively for files and directories that match a pattern.",
      { path, pattern: text },
      ["path", "pattern"],
    ),
    tool(
      "get_file_info",
      "Retrieves detailed metadata about a file or a directory: size, times, permissions.",
      { path },
      ["path"],
    ),
    tool("list_allowed_directories", "Lists the directories that this server may access."),
    tool("create_issue", "Opens an issue in a repository.", { repository: text, title: text, body: text }, [
      "repository",
      "title",
    ]),
    tool("list_pull_requests", "Lists the pull requests of a repository.", { repository: text }, ["repository"]),
    tool(
      "merge_branch",
      "Merges one branch of a repository into another.",
      { repository: text, from: text, into: text },
      ["repository", "from", "into"],
    ),
    tool("send_email", "Sends an e-mail.", { to: text, subject: text, body: text }, ["to", "subject", "body"]),
    tool("run_query", "Runs a read-only SQL query against the database.", { sql: text }, ["sql"]),
    tool("describe_table", "Describes the columns of a database table.", { table: text }, ["table"]),
    tool("fetch_url", "Fetches a web page and returns its text.", { url: text }, ["url"]),
    tool("take_screenshot", "Takes a screenshot of the browser.", { fullPage: { type: "boolean" } }),
    tool(
      "translate",
      "Translates a text into another language.",
      { text, language: { type: "string", enum: ["German", "French", "Spanish"] } },
      ["text", "language"],
    ),
    tool("set_volume", "Sets the loudness of the speakers in percent.", { level: { type: "integer" } }, ["level"]),
    tool("play_song", "Plays a song.", { title: text }, ["title"]),
  ];
}
