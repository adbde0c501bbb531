"""The errors that a caller of this package can meet."""


class DegenerateLevelSetError(ValueError):
    """The gradient is about zero, so the level set has no normal there."""


class UnsupportedModuleError(ValueError):
    """A layer of the network is of a kind that the operation cannot handle."""


class NotConvergedError(RuntimeError):
    """An iteration ended before it reached the accuracy that was asked for."""


class NoCertificateError(ValueError):
    """No certified bound exists for this request; the message gives the reason."""
