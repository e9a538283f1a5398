"""What requests and answers of the Open Inference Protocol look like."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from barevision.api.parameters import SelectionParameters

_MOST_PARAMETERS = 8

Scalar = bool | int | float | str | None
Element = TypeVar("Element")
One = Annotated[list[Element], Field(min_length=1, max_length=1)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ImageTensor(_Request):
    """The picture: base64 in `data`, or `binary_data_size` bytes behind the JSON."""

    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[Literal[1]] = Field(min_length=1, max_length=4)
    parameters: dict[str, Scalar] = Field({}, max_length=_MOST_PARAMETERS)
    data: One[str] | One[One[str]] | None = None


class RequestedOutput(_Request):
    """An output that is wanted; binary if its parameter `binary_data` is true."""

    name: Literal["boxes", "scores", "labels"]
    parameters: dict[str, Scalar] = Field({}, max_length=_MOST_PARAMETERS)


class InferenceParameters(SelectionParameters):
    """What to select, as in the query of /predict, and whether all outputs are wanted binary."""

    binary_data_output: bool = False


class InferenceRequest(_Request):
    """One picture, what to select, and which outputs are wanted."""

    id: Annotated[str, Field(max_length=1000)] | None = None
    # Checked on its own, for an error that says what is allowed there.
    parameters: Annotated[dict[str, Scalar], WithJsonSchema(InferenceParameters.model_json_schema())] = {}
    inputs: list[ImageTensor] = Field(min_length=1, max_length=1)
    outputs: Annotated[list[RequestedOutput], Field(max_length=8)] | None = None


class TensorMetadata(BaseModel):
    """A tensor's form; -1 stands for the number of detections."""

    name: str
    datatype: str
    shape: list[int]


class OutputTensor(TensorMetadata):
    """A tensor with its numbers, or how many bytes behind the JSON are it."""

    data: list[float] | list[str] | None = None
    parameters: dict[str, int] | None = None


class InferenceResponse(BaseModel):
    """What is on the picture."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class ModelMetadata(BaseModel):
    """The model that is served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The service."""

    name: str
    version: str
    extensions: list[str]


class InferenceFailure(BaseModel):
    """What went wrong."""

    error: str


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """The model answers its golden image rightly."""

    ready: bool
