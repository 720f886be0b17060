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

/** What is made once for each zone: a formatter takes some 20 KiB outside the heap, which the collector does not see in time. */
interface Zone {
  readonly name: string;
  readonly parts: Intl.DateTimeFormat;
  readonly human: Intl.DateTimeFormat;
}

/** There are some 600 names of zones; who asks for more than this at once is served all the same. */
const MOST_ZONES = 64;
const zones = new Map<string, Zone>();

/**
 * Describes a moment in a time zone.
 *
 * @param timezone an IANA name such as `Europe/Berlin`.
 * @throws RangeError when there is no such zone; the message says what a zone looks like.
 */
export function describeTime(moment: Date, timezone: string): ZonedTime {
  const { name, parts: format, human } = zoneOf(timezone);
  const parts = Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, value]));
  const utcOffset = parts["timeZoneName"] === "GMT" ? "+00:00" : (parts["timeZoneName"] ?? "").replace("GMT", "");
  const { year, month, day, hour, minute, second } = parts;
  return {
    iso: `${year}-${month}-${day}T${hour}:${minute}:${second}${utcOffset}`,
    timezone: name,
    utcOffset,
    text: `It is ${human.format(moment)} in ${name} (UTC${utcOffset}).`,
  };
}

function zoneOf(timezone: string): Zone {
  const known = zones.get(timezone);
  if (known) return known;
  const name = checkZone(timezone);
  const zone: Zone = {
    name,
    parts: new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      timeZoneName: "longOffset",
    }),
    human: new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "short", timeZone: name }),
  };
  const [oldest] = zones.keys();
  if (zones.size >= MOST_ZONES && oldest !== undefined) zones.delete(oldest);
  zones.set(timezone, zone);
  return zone;
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
