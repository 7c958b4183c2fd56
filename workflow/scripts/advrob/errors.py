"""The one exception for what a user can put right."""


class UserError(Exception):
    """A mistake in the configuration, an input file or the machine's set-up.

    The message names the file or the configuration key, what was found, what was expected and
    what to do. Scripts print it without a stack trace.
    """
