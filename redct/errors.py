"""The exceptions of redct. Catch `RedctError` to catch all of them."""


class RedctError(Exception):
    """Anything redct refuses to do; its message is one line for the user.

    The command line prints the message without a traceback and exits with code 2.
    """


class InputError(RedctError):
    """A file, a row, an option or a stored result is not as it must be.

    The message names the file, row or option, what was found and what was expected.
    """
