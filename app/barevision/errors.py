"""What Barevision raises on purpose, each with a message for the person who has to do something about it.

::

    BarevisionError
     ├── SettingsError               a setting that does not exist or has an impossible value
     ├── PictureError                bytes that can't be decoded as a picture
     │    └── PictureTooLargeError   a picture with more pixels than allowed
     │         └── SideTooLongError  a picture with more pixels on one side than allowed
     ├── ModelError                  a model that is unknown, incomplete or not what it should be
     │    └── DarknetError           a .cfg or .weights file that can't be read
     ├── EngineError                 a network that an engine can't load or run
     ├── WrongAnswerError            a model whose answer for its golden image is wrong, or not of numbers
     ├── LabelsError                 labels of pictures that can't be read or belong elsewhere
     ├── QuantizingError             a network that can't be quantized, or not well enough
     ├── UnknownLabelError           a label that the model does not have
     ├── BusyError                   too many other requests want a prediction
     └── ServiceError                a service that can't be reached, or that refused
"""

from __future__ import annotations


def shortened(text: str, characters: int = 80) -> str:
    """`text`, or as many `characters` of it, for a message: what a request or an answer says may be megabytes."""
    return text if len(text) <= characters else f"{text[:characters]}..."


class BarevisionError(Exception):
    """The base of all of them: to catch it is to catch every failure that was foreseen."""


class SettingsError(BarevisionError):
    """A setting that does not exist or has an impossible value."""


class PictureError(BarevisionError):
    """Bytes that can't be decoded as a picture."""


class PictureTooLargeError(PictureError):
    """A picture with more pixels than allowed."""


class SideTooLongError(PictureTooLargeError):
    """A picture with more pixels on one side than allowed."""


class ModelError(BarevisionError):
    """A model that is unknown, incomplete or not what it should be."""


class DarknetError(ModelError):
    """A .cfg or .weights file that can't be read; the message names the file, the line and what was expected there."""


class EngineError(BarevisionError):
    """A network that an engine can't load or run."""


class WrongAnswerError(BarevisionError):
    """A model whose answer for its golden image is not the expected one, or is no answer for any image."""


class LabelsError(BarevisionError):
    """Labels of pictures that can't be read, or that belong to other pictures or to another model."""


class QuantizingError(BarevisionError):
    """A network that can't be quantized, or that answers too differently afterwards."""


class UnknownLabelError(BarevisionError):
    """A label that the model does not have."""


class BusyError(BarevisionError):
    """Too many other requests want a prediction.

    :ivar seconds: after which it may be different.
    """

    def __init__(self, message: str, seconds: int = 1) -> None:
        super().__init__(message)
        self.seconds = seconds


class ServiceError(BarevisionError):
    """A service that can't be reached, or that refused; the message has the service's own words.

    :ivar status: the HTTP status of a refusal; None where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
