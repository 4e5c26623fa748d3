"""What passes by itself and says nothing of the job.

INVARIANT: an accepted job does not end for such a reason: it stays in the store as it is, and is
carried on once its lease has run out.
"""

from __future__ import annotations

from keystile.model.errors import (
    OverloadedError,
    PolicyUnreadableError,
    RecordingUnavailableError,
    StoreUnavailableError,
)

OUTAGES = (OverloadedError, RecordingUnavailableError, StoreUnavailableError)
"""Those that say nothing of a query either: they are no refusal of it."""

PASSING_ERRORS = (*OUTAGES, PolicyUnreadableError)
