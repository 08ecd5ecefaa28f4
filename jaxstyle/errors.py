"""The one exception a user can cause: its message is one line that names the culprit and the remedy."""


class JaxstyleError(Exception):
    """Bad input or a run that cannot go on; the command line prints it and exits with 2."""
