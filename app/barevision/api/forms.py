"""The parts of a form: multipart as Werkzeug reads it, and urlencoded.

A form's body is in memory as a whole, since a request has its turn before it is read, and `max_bytes` bounds it.
"""

from __future__ import annotations

import binascii
import itertools
import re
from dataclasses import dataclass, field

from flask import abort
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from barevision.api.errors import quoted

MOST_PARTS = 20
_LARGEST_HEADER = 16 * 1024
# Where a piece has no boundary, Werkzeug sees so at once; in the whole body it would look at each line break.
_PIECE_BYTES = 64 * 1024

# What mail has, and forms had before RFC 7578. All others leave the bytes as they are.
_CODINGS = {"base64": binascii.a2b_base64, "quoted-printable": binascii.a2b_qp}

_BREAKS_OFF = {
    State.PREAMBLE: "the line --{boundary} that begins the form's first part is missing",
    State.PART: "the form breaks off in the header of its part {number}",
    State.DATA_START: "the form breaks off in its part {number}: the line --{boundary}-- that ends a form is missing",
    State.DATA: "the form breaks off in its part {number}: the line --{boundary}-- that ends a form is missing",
}


@dataclass
class Part:
    """A file or field of a form.

    :ivar name: the field's, or "".
    :ivar filename: the file's, with U+FFFD for bytes that are not UTF-8; None of a field without a file name.
    :ivar content_type: what the part says that it is, in lower case, or "".
    :ivar coding: in which Content-Transfer-Encoding it came, in lower case, or "". `content` is decoded.
    """

    name: str
    filename: str | None
    content_type: str = ""
    coding: str = ""
    content: bytes = field(default=b"", repr=False)


class _Decoder(MultipartDecoder):
    """Werkzeug's, for parts with a header in any encoding and up to a limit. This depends on its `_parse_headers`.

    Werkzeug gives a whole form up over a file name that is not UTF-8, which nobody needs, and makes an object of each
    line of a header, 1.6 GB of 20 MB.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > _LARGEST_HEADER:
            raise RequestEntityTooLarge(
                f"the header of a form's part has {len(data)} bytes, allowed are {_LARGEST_HEADER}"
            )
        try:
            data.decode()
        except UnicodeDecodeError:
            # In Shift JIS, GBK and Big5, a backslash may be the second half of a letter. It would escape a quote.
            data = data.replace(b"\\", b"_").decode(errors="replace").encode()
        headers = super()._parse_headers(data)
        headers.setdefault("Content-Disposition", "form-data")
        return headers


def find_boundary(body: bytes, named: str) -> bytes | None:
    """The boundary of the form that `body` is: the one `named` by its type, or else that of the body's first line.

    Some clients' types have none, or another, because they were set by hand. None if the body is no form.
    """
    boundary = named.encode("latin-1", "replace")
    if boundary and re.search(rb"--" + re.escape(boundary) + rb"(?:--|[ \t]{0,4}[\r\n])", body):
        return boundary
    first = re.match(rb"\s*--([^\r\n]{1,200}?)[ \t]{0,4}(?:\r\n|\n|\r)[A-Za-z-]{1,100}:", body)
    return first and first[1]


def read_multipart(body: bytes, boundary: bytes) -> list[Part]:
    """The parts of `body`, in order.

    :raises HTTPException: 400 if it breaks off, 413 if there are too many or one has a large header.
    """
    decoder, parts, contents = _Decoder(boundary), [], []
    pieces = (body[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES))
    try:
        for piece in itertools.chain(pieces, [None]):
            decoder.receive_data(piece)
            while not isinstance(event := decoder.next_event(), (NeedData, Epilogue)):
                if isinstance(event, (Field, File)):
                    parts.append(_part(event))
                    contents.append([])
                    _check_count(parts)
                elif isinstance(event, Data):
                    contents[-1].append(event.data)
    except ValueError:
        # Werkzeug knows no more of it than where it was.
        number = len(parts) + (decoder.state is State.PART)
        shown = quoted(boundary.decode("latin-1"))[1:-1]
        abort(400, _BREAKS_OFF[decoder.state].format(boundary=shown, number=number))
    for number, (part, content) in enumerate(zip(parts, contents, strict=True), 1):
        try:
            part.content = _CODINGS.get(part.coding, bytes)(b"".join(content))
        except ValueError:
            abort(400, f"part {number} of the form is not {part.coding}, as its Content-Transfer-Encoding says")
    return parts


def _part(event: Event) -> Part:
    # A file name whose quotes or encoding Werkzeug doesn't know makes a file no less.
    unread = "" if "filename" in event.headers["Content-Disposition"].lower() else None
    content_type = event.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    coding = event.headers.get("Content-Transfer-Encoding", "").strip().lower()
    return Part(event.name or "", getattr(event, "filename", unread), content_type, coding)


def read_urlencoded(body: bytes) -> list[Part]:
    """The fields of `body`, in order.

    :raises HTTPException: 400 for a stray percent sign, 413 if there are too many.
    """
    if stray := re.search(rb"%(?![0-9A-Fa-f]{2})[^&]{0,2}", body):
        abort(400, f"the form has {quoted(stray[0].decode('latin-1'))}; a % itself is written %25")
    pairs = [pair.partition(b"=") for pair in body.split(b"&", MOST_PARTS)]
    _check_count(pairs)
    return [Part(_unquoted(name).decode(errors="replace"), None, content=_unquoted(value)) for name, _, value in pairs]


def _check_count(parts: list) -> None:
    if len(parts) > MOST_PARTS:
        raise RequestEntityTooLarge(f"the form has more than {MOST_PARTS} parts")


def _unquoted(text: bytes) -> bytes:
    # As in quoted-printable, but for the sign. urllib makes an object of each %XX, which is 600 MB for a body of 20 MB.
    return binascii.a2b_qp(text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))
