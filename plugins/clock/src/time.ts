/** The current time in one zone. */
export interface ZonedTime {
  /** ISO 8601 with the zone's offset, to the second. */
  readonly iso: string;
  /** IANA name of the zone. */
  readonly timezone: string;
  /** Difference to UTC, such as `+02:00`. */
  readonly utcOffset: string;
  /** For people, in English. */
  readonly text: string;
}

/**
 * Describes a moment in a time zone.
 *
 * @param timezone an IANA name such as `Europe/Berlin`.
 * @throws RangeError when there is no such zone; the message says what a zone looks like.
 */
export function describeTime(moment: Date, timezone: string): ZonedTime {
  const zone = checkZone(timezone);
  const parts = partsOf(moment, zone);
  const utcOffset = parts["timeZoneName"] === "GMT" ? "+00:00" : (parts["timeZoneName"] ?? "").replace("GMT", "");
  const { year, month, day, hour, minute, second } = parts;
  const human = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone: zone });
  return {
    iso: `${year}-${month}-${day}T${hour}:${minute}:${second}${utcOffset}`,
    timezone: zone,
    utcOffset,
    text: `It is ${human.format(moment)} in ${zone} (UTC${utcOffset}).`,
  };
}

function partsOf(moment: Date, timeZone: string): Record<string, string> {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "longOffset",
  });
  return Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, value]));
}

/**
 * Intl spells some zones as they were called long ago (`Asia/Katmandu`): the caller's own spelling stays then. Offsets such as `+02:00` are refused although Intl knows them: they are no zone,
 * and wrong for half of the year.
 */
function checkZone(timezone: string): string {
  try {
    if (/^[A-Za-z]/.test(timezone)) {
      const { timeZone } = new Intl.DateTimeFormat("en-US", { timeZone: timezone }).resolvedOptions();
      return timeZone.toLowerCase() === timezone.toLowerCase() ? timeZone : timezone;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new RangeError(
    `There is no time zone ${JSON.stringify(timezone)}. Give an IANA name such as "Europe/Berlin", "America/New_York" or "UTC".`,
  );
}
