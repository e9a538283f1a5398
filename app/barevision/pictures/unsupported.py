"""What people send for a picture that is none to us: what it is, and what to do, in a sentence."""

from __future__ import annotations

_CONVERT = "save it as JPEG or PNG"
_HEIC = (
    "a HEIC picture, which an iPhone takes: choose Camera > Formats > Most Compatible in its settings, "
    "or save the picture as JPEG"
)
_FILM = "a film; send one of its pictures as JPEG"
#: A photo as a camera stores it for programs that develop photos.
RAW_PHOTO = "a camera's raw picture; save it as JPEG in the program that develops it"

# Brands that a file says it is of (ISO/IEC 14496-12), after "ftyp".
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), _HEIC),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2", b"miaf"), f"a HEIF picture that is no AVIF; {_CONVERT}"),
    b"jxl ": f"a JPEG XL picture; {_CONVERT}",
    **dict.fromkeys((b"jp2 ", b"jpx ", b"jpm "), f"a JPEG 2000 picture; {_CONVERT}"),
    b"crx ": RAW_PHOTO,
}
_AVIF = (b"avif", b"avis")
_BEGINNINGS = (
    (b"%PDF", f"a PDF document; {_CONVERT}, a page each"),
    (b"\xff\x0a", _BRANDS[b"jxl "]),
    (b"\0\0\0\x0cJXL ", _BRANDS[b"jxl "]),
    (b"\0\0\0\x0cjP  ", _BRANDS[b"jp2 "]),
    (b"\xff\x4f\xff\x51", _BRANDS[b"jp2 "]),
    (b"8BPS", f"a Photoshop document; {_CONVERT}"),
    (b"gimp xcf", f"a GIMP document; {_CONVERT}"),
    (b"\0\0\1\0", f"an icon; {_CONVERT}"),
    (b"\0\0\2\0", f"a cursor; {_CONVERT}"),
    (b"\xd7\xcd\xc6\x9a", f"a Windows metafile; {_CONVERT}"),
    (b"DDS ", f"a DirectDraw texture; {_CONVERT}"),
    (b"v/1\x01", f"an OpenEXR picture; {_CONVERT}"),
    (b"#?RADIANCE", f"a Radiance picture; {_CONVERT}"),
    *((b"P%d" % number, f"a Netpbm picture; {_CONVERT}") for number in range(1, 7)),
    (b"\x93NUMPY", f"a NumPy array; {_CONVERT}"),
    (b"FUJIFILMCCD-RAW", RAW_PHOTO),
    (b"IIRO", RAW_PHOTO),
    (b"IIRS", RAW_PHOTO),
    (b"MMOR", RAW_PHOTO),
    (b"IIU\0", RAW_PHOTO),
    (b"\x1aE\xdf\xa3", _FILM),
    (b"\0\0\1\xba", _FILM),
    (b"PK\3\4", "a ZIP archive, as documents and PyTorch's models are, and no picture"),
    (b"\x1f\x8b", "compressed with gzip; send the picture as it is"),
    (b"/9j/", 'a JPEG in base64; send it as JSON {"image": "<base64>"} with the type application/json, or decode it'),
    (
        b"iVBORw0KGgo",
        'a PNG in base64; send it as JSON {"image": "<base64>"} with the type application/json, or decode it',
    ),
    (b"data:image/", 'a data: URL; send it as JSON {"image": "..."} with the type application/json'),
    (b"version https://git-lfs", "a Git LFS pointer; the picture itself is fetched with git lfs pull"),
)
_SVG = f"an SVG drawing; {_CONVERT}"
_PAGE = "a page of HTML, such as an error or a login, and no picture"


def what_it_is(data: bytes) -> str | None:
    """What the file `data` is by its beginning, if that is none of our formats, and what to do; None if unknown."""
    if data[4:8] == b"ftyp":
        brands = brands_of(data)
        if brands.isdisjoint(_AVIF):
            return next((_BRANDS[brand] for brand in _BRANDS if brand in brands), _FILM)
        return None
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return _FILM
    for beginning, sentence in _BEGINNINGS:
        if data.startswith(beginning):
            return sentence
    text = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<?xml", b"<svg", b"<!doctype svg")) and b"<svg" in text:
        return _SVG
    return _PAGE if text.startswith((b"<!doctype html", b"<html")) else None


def brands_of(data: bytes) -> set[bytes]:
    """The brands in the box "ftyp" with which the file `data` begins."""
    length = min(int.from_bytes(data[:4], "big"), 1024)
    content = data[8:length] if length >= 12 else data[8:12]
    # The second one is a version.
    return {content[start : start + 4] for start in range(0, len(content), 4) if start != 4}
