"""The forms of OAuth's endpoints (RFC 6749 appendix B), read so that each has one meaning."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from keystile.model.errors import TokenRefusedError

_FORM = "application/x-www-form-urlencoded"
_MAX_BODY_BYTES = 64 << 10
_MAX_PARAMETERS = 32


class Form:
    """The parameters of one request that have a value, each once."""

    def __init__(self, body: bytes, content_type: str) -> None:
        """Read a body.

        Raises `TokenRefusedError` for what is no form, is too large or names a parameter twice.
        """
        self._values = _values(body, content_type)

    def __contains__(self, name: str) -> bool:
        """Tell whether a parameter has a value."""
        return name in self._values

    def given(self, name: str) -> str:
        """Give a parameter. Raises `TokenRefusedError` where it is missing."""
        if name not in self._values:
            raise TokenRefusedError(f"the parameter `{name}` is missing")
        return self._values[name]

    def require(
        self, name: str, accepted: tuple[str, ...], oauth_error: str = "invalid_request"
    ) -> None:
        """Raise `TokenRefusedError` where a parameter is missing or none of those accepted."""
        if self.given(name) not in accepted:
            # What was given is not repeated: in a garbled form it could be the token.
            choices = " or ".join(f"`{value}`" for value in accepted)
            message = f"the parameter `{name}` must be {choices}"
            raise TokenRefusedError(message, oauth_error=oauth_error)


def _values(body: bytes, content_type: str) -> Mapping[str, str]:
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise TokenRefusedError(f"the request is not a form (`{_FORM}`)")
    if len(body) > _MAX_BODY_BYTES:
        message = f"the form is larger than {_MAX_BODY_BYTES} bytes"
        raise TokenRefusedError(message)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError as error:
        message = "the form is not well-formed"
        raise TokenRefusedError(message) from error
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            message = f"the parameter {name[:40]!r} is given twice"
            raise TokenRefusedError(message)
        form[name] = value
    # RFC 6749 section 3.2: a parameter without a value counts as left out.
    return {name: value for name, value in form.items() if value}
