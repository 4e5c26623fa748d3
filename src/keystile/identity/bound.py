"""What a token may be bound to."""

from __future__ import annotations

import msgspec


class Binding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys by their thumbprints, as `cnf` names them; empty where it is none."""

    jkt: str = ""
    x5t: str = msgspec.field(default="", name="x5t#S256")

    def __bool__(self) -> bool:
        """Tell whether there is any key."""
        return bool(self.jkt or self.x5t)


FREE = Binding()
"""What binds nobody."""
