// Columns for people; `--json` is for programs.
import { stripVTControlCharacters } from "node:util";
import { oneLine } from "./sanitize.ts";

/** A column: its heading and how to read a row. */
export interface Column<Row> {
  readonly title: string;
  /** The cell's text. What it returns is made safe for a terminal and put on one line. */
  cell(row: Row): string;
}

/** Lays rows out in columns, two spaces apart, the last cut at `width` characters; `none` when there are no rows. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { none: string; width?: number | undefined; heading?: (text: string) => string },
): string {
  if (!rows.length) return options.none;
  const cells = rows.map((row) => columns.map((column) => oneLine(column.cell(row)) || "-"));
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((line) => displayWidth(line[i] ?? ""))),
  );
  const layOut = (line: readonly string[]): string =>
    line
      .map((cell, i) => (i === line.length - 1 ? cell : cell + " ".repeat((widths[i] ?? 0) - displayWidth(cell))))
      .join("  ");
  const paint = options.heading ?? ((text: string) => text);
  const heading = paint(layOut(columns.map((column) => column.title)));
  return [heading, ...cells.map((line) => cut(layOut(line), options.width))].join("\n");
}

function cut(line: string, width: number | undefined): string {
  const characters = Array.from(line);
  return width && characters.length > width ? `${characters.slice(0, width - 1).join("")}…` : line;
}

function displayWidth(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}
