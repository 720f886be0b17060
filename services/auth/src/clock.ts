/** The time in milliseconds since 1970. A parameter everywhere, so that tests move it. */
export type Clock = () => number;
