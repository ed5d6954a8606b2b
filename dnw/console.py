"""The console of commands that print tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

UNBOUNDED = 400  # columns, where no terminal bounds them: one line a row, for grep


class PlainConsole(Console):
    """Prints text as it is.

    Names of runs, settings and reasons from logs are anybody's words: what looks like rich's markup or an
    emoji's code is none, and a control character is shown by its escape, as it could move the cursor.
    """

    def __init__(self, width: int = UNBOUNDED, soft_wrap: bool = False) -> None:
        """Open it on stdout.

        Args:
            width: columns, where stdout is no terminal.
            soft_wrap: leave long lines to the terminal.
        """
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
        if not self.is_terminal:
            self.width = width

    def render_str(self, text: str, **kwargs: Any) -> Text:
        """Return the text to print, in which all characters but line breaks are printable."""
        return super().render_str(printable(text), **kwargs)


def printable(text: str) -> str:
    """Return a text with its control characters, surrogates and the like escaped, except line breaks."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )
