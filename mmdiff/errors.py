"""The one exception that means: the input was wrong, the program is fine."""


class UserError(ValueError):
    """The user's input was wrong: says what came and what was expected in one line (exit code 2)."""
