"""The one exception a user can cause: its message is one line that names the culprit and the remedy."""

from collections.abc import Iterable


class JaxstyleError(Exception):
    """Bad input or a run that cannot go on; the command line prints it and exits with 2.

    As text it is one line, whatever is in the names that it mentions (see `printable`). `fields` names what
    to change, as a program calls it: the command line shows its own flags for them.
    """

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: object) -> str:
    r"""Text from elsewhere as a part of one line: whatever would move the cursor, end the line, turn the
    direction of writing or cannot be encoded is shown as an escape such as \n, \x1b or \udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def one_of(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise unless `value` is among `choices`.

    Raises:
      JaxstyleError: listing them.
    """
    if value not in (known := tuple(choices)):
        raise JaxstyleError(f"{name} '{value}' is not one of {', '.join(known)}")
