"""The HTTP client: what the tutorial's request.py does, with errors in words."""

from __future__ import annotations

import requests

from barevision.answers import is_answer


class ServiceError(RuntimeError):
    """The service could not be reached, or refused; the message has its own words."""


class Client:
    """A Barevision service at `url` ('http://host' or 'http://host:port')."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        """`timeout` in seconds, to connect and between two bytes of an answer."""
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()

    def predict(self, image: bytes, **parameters: float) -> list[dict]:
        """The detections on the encoded picture `image`, most confident first.

        :param parameters: query parameters such as `confidence` and `nms`.
        :raises ServiceError: no answer, an error, or what is no list of detections.
        """
        try:
            response = self._session.post(
                f"{self.url}/predict",
                data=image,
                params=parameters,
                headers={"Content-Type": "application/octet-stream", "Accept": "application/json"},
                timeout=self._timeout,
            )
        except requests.RequestException as error:
            raise ServiceError(f"{self.url} does not answer: {error}") from error
        if not response.ok:
            raise ServiceError(f"{self.url} answers {response.status_code}: {_detail(response)}")
        try:
            answer = response.json()
        except (requests.JSONDecodeError, RecursionError) as error:
            raise ServiceError(f"{self.url}/predict answers no JSON; is this a Barevision service?") from error
        if not is_answer(answer):
            raise ServiceError(f"{self.url}/predict answers no list of detections; is this a Barevision service?")
        return answer


def _detail(response: requests.Response) -> str:
    try:
        return response.json()["detail"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        return response.reason
