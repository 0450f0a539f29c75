"""The one error a user's mistake raises."""


class InputError(ValueError):
    """Input that cannot be used. The message is one line: which file, what is wrong, what to do.

    The command prints the message and exits with 2; any other exception is a defect of ours.
    """
