"""Errors that a user can mend: each is one clear sentence, shown without a traceback."""


class PkdotError(Exception):
    """Base of all errors that a user can mend; the command line prints them as one sentence."""


class ConfigError(PkdotError, ValueError):
    """The configuration asks for something that cannot be."""


class DataError(PkdotError):
    """The data are not what the configuration says they are."""
