"""What the tools do, apart from how they are called."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002]+(?=\s|$)")


def count(text):
    """Words, characters, lines and sentences. A word is letters and digits, joined by apostrophes or hyphens."""
    words = len(_word_spans(text))
    graphemes = _graphemes(text)
    return {
        "words": words,
        "characters": len(graphemes),
        "charactersWithoutSpaces": sum(1 for each in graphemes if not each.isspace()),
        "lines": len(text.splitlines()),
        "sentences": max(len(_SENTENCE_END.findall(text)), 1 if words else 0),
    }


def reverse(text, by):
    """Back to front, by characters (an accent stays on its letter), words or lines."""
    if by == "words":
        return "".join(reversed(re.split(r"(\s+)", text)))
    if by == "lines":
        return "\n".join(reversed(text.splitlines()))
    return "".join(reversed(_graphemes(text)))


def change_case(text, case):
    """One of CASES."""
    return CASES[case](text)


def slugify(text, separator, max_length):
    """Lower-case ASCII words for an address or a file name, cut at a word where that is possible.

    Raises ValueError when nothing would be left."""
    ascii_text = unicodedata.normalize("NFKD", text.replace("\u00df", "ss")).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", re.sub(r"['\u2019]", "", ascii_text.lower()))
    if not words:
        raise ValueError("text has no letter or digit that could be written in ASCII, so there is no slug of it")
    slug = words[0][:max_length]
    for word in words[1:]:
        longer = slug + separator + word
        if len(longer) > max_length:
            break
        slug = longer
    return slug


def _is_mark(character):
    return unicodedata.category(character).startswith("M")


def _word_spans(text):
    """Where words begin and end. Marks (accents, the vowel signs of many scripts) belong to them, which `re` cannot say."""
    letters = text if text.isascii() else "".join("x" if _is_mark(each) else each for each in text)
    return [match.span() for match in _WORD.finditer(letters)]


def _graphemes(text):
    """Characters with the marks that stand on them, and what joiners hold together."""
    clusters = []
    for each in text:
        joins = _is_mark(each) or each == "\u200d" or "\U0001f3fb" <= each <= "\U0001f3ff"
        if clusters and (joins or clusters[-1].endswith("\u200d")):
            clusters[-1] += each
        else:
            clusters.append(each)
    return clusters


def _words_of(text):
    """The words of a name in any case: `fooBar baz-QUX` has foo, Bar, baz and QUX."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W_]+", text)


def _title(text):
    parts, end = [], 0
    for start, stop in _word_spans(text):
        parts += [text[end:start], text[start].upper(), text[start + 1 : stop].lower()]
        end = stop
    return "".join(parts) + text[end:]


def _sentence(text):
    lower = text.lower()
    return re.sub(r"(^\s*|[.!?]\s+)([^\W\d_])", lambda match: match[1] + match[2].upper(), lower)


def _camel(text):
    words = [word.lower() for word in _words_of(text)]
    return "".join(words[:1] + [word.capitalize() for word in words[1:]])


CASES = {
    "upper": str.upper,
    "lower": str.lower,
    "title": _title,
    "sentence": _sentence,
    "camel": _camel,
    "snake": lambda text: "_".join(word.lower() for word in _words_of(text)),
    "kebab": lambda text: "-".join(word.lower() for word in _words_of(text)),
}
