"""How much of a set of statements the gateway understands, and whether it does so rightly."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import ColumnMask
from keystile.model.errors import KeystileError
from keystile.model.masks import NullMask
from prove.cases import DATASET, PROJECT, Case, Named
from prove.judge import Verdict, judged
from prove.scramble import Contents, difference

_DEADLINE = 30.0  # seconds for the bare engine and the evaluator
_PATIENCE = 60  # seconds for the gateway's part: what is measured is not how fast it is
_KEY = bytes(range(32))


@dataclass
class Coverage:
    """What came of cases, from one process or several.

    Excluded, refused and unmasked cases are counted by reason; `first` says where each reason was
    met first.
    """

    cases: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unmasked: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    analysed: int = 0
    proved: int = 0
    compared: int = 0
    misread: list[str] = field(default_factory=list)

    def add(self, other: Coverage) -> None:
        """Add what another process counted."""
        for name in ("cases", "analysed", "proved", "compared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("classes", "details", "refused", "unmasked"):
            getattr(self, name).update(getattr(other, name))
        self.first = {**other.first, **self.first}
        self.misread += other.misread

    @property
    def accepted(self) -> int:
        """The queries that BigQuery accepts."""
        return self.analysed + self.refused.total()

    def summary(self) -> dict[str, object]:
        """Give the figures of the last line."""
        masked = self.proved + self.unmasked.total()
        return {
            "cases": self.cases,
            "excluded": dict(self.classes.most_common()),
            "accepted": self.accepted,
            "analysed": self.analysed,
            "refused": self.refused.total(),
            "misread": len(self.misread),
            "worlds_compared": self.compared,
            "masked": masked,
            "masked_proved": self.proved,
            "percent": _percent(self.analysed, self.accepted),
            "percent_proved": _percent(self.proved, masked),
        }


class Trier:
    """Puts cases to the gateway's analysis and masking, and to checks that do not trust it."""

    def __init__(self, *, compare: bool) -> None:
        """`compare` runs each analysed query on the reference evaluator in two worlds."""
        runner = InlineRunner()
        self._analyst = Analyst(runner, 262_144)
        self._rewriter = Rewriter(runner, always(_KEY))
        self._compare = compare
        self.engine = Engine()
        self._contents = Contents(self.engine)
        self._found = Coverage()

    def tried(self, case: Case) -> Coverage:
        """Judge, analyse, check and mask one case."""
        self._found = Coverage(cases=1)
        verdict = self._verdict(case)
        if verdict.refused:
            self._found.classes[verdict.refused] += 1
            self._count(case, self._found.details, f"{verdict.refused}: {verdict.details}")
        elif (analysed := self.analysed(case)) is not None:
            self._found.analysed += 1
            if wrong := self._misreading(case, verdict, analysed):
                self._found.misread.append(f"{case.where}: {wrong}")
            self._mask(case, analysed)
        return self._found

    def _count(self, case: Case, reasons: Counter[str], message: str) -> None:
        reason = _general(message)
        reasons[reason] += 1
        self._found.first.setdefault(reason, case.where)

    def _verdict(self, case: Case) -> Verdict:
        if not case.golden.sql:
            return Verdict("empty")
        if case.golden.expects_error:
            return Verdict("the test expects an error")
        return judged(self.engine, case.golden.sql, case.tables, case.parameters)

    def analysed(self, case: Case) -> Analysed | None:
        """Analyse a case as the gateway does; count why where it refuses."""
        statement = Statement(case.golden.sql, PROJECT, DATASET, case.parameters)
        try:
            analysed = asyncio.run(self._analyst.analyse(statement, Named(case.tables)))
        except KeystileError as error:
            self._count(case, self._found.refused, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            self._count(case, self._found.refused, f"CRASH {type(error).__name__}: {error}")
        else:
            if not analysed.facts.opaque:
                return analysed
            self._count(case, self._found.refused, analysed.facts.opaque[0].what)
        return None

    def _mask(self, case: Case, analysed: Analysed) -> None:
        """Mask every column that the statement uses, and count what cannot be proved safe."""
        masks = tuple(
            ColumnMask(use.column, "secret", NullMask()) for use in analysed.facts.columns
        )
        if not masks:
            return
        try:
            asyncio.run(self._rewriter.rewrite(analysed, masks))
        except KeystileError as error:
            self._count(case, self._found.unmasked, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            self._count(case, self._found.unmasked, f"CRASH {type(error).__name__}: {error}")
        else:
            self._found.proved += 1

    def _misreading(self, case: Case, verdict: Verdict, analysed: Analysed) -> str:
        """Say what the facts miss; empty where they miss nothing."""
        known = {
            (use.column.table.table.lower(), use.column.path[0].lower())
            for use in analysed.facts.columns
        }
        for table, column in sorted(verdict.columns):
            if (table.lower(), column.lower()) not in known:
                return f"`{table}.{column}` is scanned and not in the facts"
        if not self._compare:
            return ""
        return self._difference(case, analysed)

    def _difference(self, case: Case, analysed: Analysed) -> str:
        answer = difference(
            self._contents, self.engine, case.golden.sql, case.tables, analysed.facts
        )
        if answer is None:
            return ""
        self._found.compared += 1
        return answer


_ROOM = 110


def _general(message: str) -> str:
    """Take names and places out of a message, so that like ones are counted together."""
    text = re.sub(r" at \[\d+:\d+\].*", "", message, flags=re.DOTALL)
    return text.split("\n")[0][:_ROOM]


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0
