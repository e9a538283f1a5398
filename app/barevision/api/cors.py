"""Which pages of other sites may ask from a browser and read what is answered (CORS, https://fetch.spec.whatwg.org)."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request

#: The headers of an answer that a page of another site may read beside those that browsers let it read anyway.
EXPOSED_HEADERS = ("X-Request-ID", "Server-Timing", "Retry-After")
# Chrome's own limit. Until then a browser does not ask again before each request.
_PREFLIGHT_SECONDS = 7200


def register_cors(app: Flask, origins: Collection[str]) -> None:
    """Lets pages of `origins`, or all if "*" is one, read the answers of `app`, its errors included.

    Nothing is sent with cookies or a login, so no origin gains what its visitor may do here.
    """

    def allow(response: Response) -> Response:
        origin = request.headers.get("Origin")
        if "*" not in origins:
            response.vary.add("Origin")
            if origin not in origins:
                return response
        response.headers["Access-Control-Allow-Origin"] = "*" if "*" in origins else origin
        response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
        # The question that a browser asks before a request that an HTML form could not send.
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(response.allow))
            response.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
            response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
        return response

    if origins:
        app.after_request(allow)
