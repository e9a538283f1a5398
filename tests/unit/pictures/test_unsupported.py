"""What is no picture to us, said in words."""

from __future__ import annotations

import struct

import pytest

from barevision.errors import PictureError
from barevision.pictures.decode import decode_image
from tests.support.pictures import tiff


def ftyp(*brands: bytes) -> bytes:
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + bytes(100)


#: A grey TIFF of 4x2 pixels.
SMALL = {256: [4], 257: [2], 258: [8], 259: [1], 262: [1], 277: [1], 279: [8]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC .*Camera > Formats > Most Compatible"),
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIC .*Most Compatible.*as JPEG"),
        (ftyp(b"heic")[:16], "HEIC"),
        (ftyp(b"mif1", b"mif1"), "HEIF picture that is no AVIF"),
        (ftyp(b"isom", b"iso2", b"mp41"), "a film"),
        (ftyp(b"qt  "), "a film"),
        (ftyp(b"crx "), "raw picture"),
        (ftyp(b"jxl "), "JPEG XL"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + ftyp(b"jxl "), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + ftyp(b"jp2 "), "JPEG 2000"),
        (b"%PDF-1.7\n", "PDF document; save it as JPEG or PNG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\xef\xbb\xbf <svg/>", "an SVG drawing"),
        (b"<!DOCTYPE html><html>", "a page of HTML"),
        (b"RIFF\0\0\0\0AVI LIST", "a film"),
        (b"\x1aE\xdf\xa3" + bytes(20), "a film"),
        (b"PK\3\4" + bytes(40), "ZIP archive, as .* PyTorch's models"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"P6\n4 2\n255\n", "Netpbm"),
        (b"/9j/4AAQSkZJRg", "a JPEG in base64"),
        (b"data:image/png;base64,iVBORw0KGgo", "a data: URL"),
        (b"IIRO\x08\0\0\0", "raw picture"),
        (tiff({**SMALL, 50706: [1, 4, 0, 0]}, bytes(8)), "raw picture; save it as JPEG"),
        (tiff({**SMALL, 254: [1], 330: [8]}, bytes(8)), "raw picture; save it as JPEG"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + tiff(SMALL, bytes(8))[8 + 8 :], "damaged|raw picture"),
        (b"nothing of the kind", "no picture in one of these formats: JPEG, PNG"),
        (b"BMthis is no BMP", "damaged, or a BMP of a kind that is not supported"),
    ],
)
def test_what_is_sent_in_place_of_a_picture_is_named_and_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        decode_image(data, 10**6)


def test_an_avif_says_that_it_is_one_among_its_brands() -> None:
    with pytest.raises(PictureError, match=r"boxes are incomplete|no picture in one of these formats"):
        decode_image(ftyp(b"mif1", b"mif1", b"avif"), 10**6)
    assert decode_image(tiff(SMALL, bytes(range(8))), 10**6).shape == (2, 4, 3)
