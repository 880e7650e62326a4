"""The words on a magic's line, with their columns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word.

    Attributes:
        text: with its quotes taken off.
        start: 0-based column of its first character.
        end: 0-based column after its last.
        closed: False when a quote is left open.
    """

    text: str
    start: int
    end: int
    closed: bool = True


def split_words(line: str, start: int = 0) -> tuple[Word, ...]:
    """Split like a shell, but leave backslashes alone outside of double quotes; a word that begins with `#` ends the line.

    >>> [w.text for w in split_words('train --label "a=b c" --env X=1 # why')]
    ['train', '--label', 'a=b c', '--env', 'X=1']
    """
    words: list[Word] = []
    at = start
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        if at >= len(line) or line[at] == "#":
            return tuple(words)
        word = _word(line, at)
        words.append(word)
        at = word.end


def _word(line: str, start: int) -> Word:
    out: list[str] = []
    quote: str | None = None
    at = start
    while at < len(line):
        char = line[at]
        if quote is not None:
            if char == quote:
                quote = None
            elif char == "\\" and quote == '"' and line[at + 1 : at + 2] in ('"', "\\"):
                at += 1
                out.append(line[at])
            else:
                out.append(char)
        elif char in "\"'":
            quote = char
        elif char.isspace():
            break
        else:
            out.append(char)
        at += 1
    return Word(text="".join(out), start=start, end=at, closed=quote is None)
