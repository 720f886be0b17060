// What takes part in the gateway suite: a front that speaks HTTP and, where it has one, a back that it asks.

/** Where a subject finds what it needs. */
export interface Target {
  readonly natsUrl: string;
  /** The peers' account on it. */
  readonly peer: { readonly user: string; readonly password: string };
  /** The folder with the mesh's credentials. */
  readonly credentials: string;
  /** The path of Redis' socket. */
  readonly redisPath: string;
  /** Where the back listens, for fronts that dial it. */
  readonly backUrl: string | undefined;
}

/** A side that runs until its process ends. Its front says where it listens. */
export type Side = (target: Target) => Promise<string | undefined>;

export interface Subject {
  readonly front: Side;
  readonly back?: Side;
}

/** The one route: it answers `{message}` with the message. */
export const PATH = "/v1/chat";
export const BODY = JSON.stringify({ message: "e".repeat(200) });
/** Also where nobody looks at it: every subject parses the same request. */
export const TOKEN = `wop_bench_${"t".repeat(43)}`;
