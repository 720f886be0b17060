// Words of English as the offline model compares them: lower case, without filling words, reduced to a common stem.

const FILLERS = new Set(
  (
    "a an the this that these those it its is are am was were be been being do does did done have has had having will would shall should can could " +
    "may might must i me my mine you your yours we us our he him his she her they them their what whats which who whom whose when where why how " +
    "and or but if then so to of in on at by for from with without into about as up out off over there here not no yes please just now tell show " +
    "give let lets want need like know much many any some all each s t re ve ll d m use using call tool run what's contains contain " +
    "hello hi hey thanks thank okay ok"
  ).split(" "),
);

// What people say on the left, what tools are called on the right.
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  add: ["sum"],
  plus: ["sum"],
  total: ["sum"],
  sum: ["add"],
  folder: ["directory"],
  directory: ["folder"],
  dir: ["directory"],
  clock: ["time"],
  hour: ["time"],
  oclock: ["time"],
  date: ["time"],
  backwards: ["reverse"],
  backward: ["reverse"],
  flip: ["reverse"],
  invert: ["reverse"],
  repeat: ["echo"],
  say: ["echo"],
  delete: ["remove"],
  erase: ["remove"],
  find: ["search"],
  uppercase: ["upper"],
  capital: ["upper"],
  lowercase: ["lower"],
  make: ["create"],
  content: ["read"],
  open: ["read"],
  rename: ["move"],
  picture: ["image"],
};

/** Reduces a lower-case word to a stem shared by its plural and its verb forms. Light on purpose: it only has to agree with itself. */
export function stem(word: string): string {
  let stemmed = word;
  if (stemmed.length > 4 && stemmed.endsWith("ies")) stemmed = `${stemmed.slice(0, -3)}y`;
  else if (stemmed.length > 4 && /(?:s|x|z|ch|sh)es$/.test(stemmed)) stemmed = stemmed.slice(0, -2);
  else if (stemmed.length > 3 && stemmed.endsWith("s") && !/(?:ss|us|is)$/.test(stemmed))
    stemmed = stemmed.slice(0, -1);
  if (stemmed.length > 5 && stemmed.endsWith("ing")) stemmed = stemmed.slice(0, -3);
  else if (stemmed.length > 4 && stemmed.endsWith("ed")) stemmed = stemmed.slice(0, -2);
  // "reverse", "reversed" and "reversing" meet at "revers".
  return stemmed.length > 4 && stemmed.endsWith("e") ? stemmed.slice(0, -1) : stemmed;
}

/** Splits text or an identifier (`getSum`, `word_count`) into lower-case words. */
export function words(text: string): string[] {
  return (
    text
      .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
      .toLowerCase()
      .replace(/[’']/g, "")
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}

/** The stems that carry meaning, in order, each once. */
export function terms(text: string): string[] {
  return [
    ...new Set(
      words(text)
        .filter((word) => !FILLERS.has(word))
        .map(stem),
    ),
  ];
}

/** Whether a word only fills a sentence. */
export function isFiller(word: string): boolean {
  return FILLERS.has(word.toLowerCase());
}

/** The stems of what else a term may be called, without itself. */
export function synonyms(term: string): readonly string[] {
  return STEMMED_SYNONYMS.get(term) ?? [];
}

const STEMMED_SYNONYMS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(SYNONYMS).map(([word, others]) => [stem(word), others.map(stem)]),
);
