"""The one error for a file that cannot be used, and how strange names are printed."""

from mmdiff.errors import UserError


def printable(name: str) -> str:
    """The name on one line of any terminal: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


class BadFile(UserError):
    """A file that cannot be used; `name` is its name as the user knows it, `reason` one short phrase."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{printable(name)}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type["BadFile"], tuple[str, str]]:
        return BadFile, (self.name, self.reason)
