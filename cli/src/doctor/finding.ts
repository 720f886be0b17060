/** One thing the doctor looked at. */
export interface Finding {
  /** Where it belongs in the report. */
  readonly group: "programs" | "sandbox" | "limits" | "gateway" | "access";
  readonly name: string;
  /** `missing`: Warren does not work without it. `warning`: something less works. */
  readonly state: "ok" | "warning" | "missing";
  /** What was found. */
  readonly detail: string;
  /** The command that mends it; undefined when there is nothing to mend. */
  readonly mend?: string;
}
