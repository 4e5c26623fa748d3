"""What a policy needs of the settings is looked at before it holds."""

from __future__ import annotations

import pytest

from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import UnsafeConfigurationError

LABELS = "labels:\n- {label: pii, columns: [ssn]}\n"
MASK = "masks:\n- label: pii\n  mask:\n    kind: KIND\n    key: sales\n"
DETECTOR = "detectors:\n- name: d\n  find: [ssn]\n  label: pii\n  mask: {kind: token, key: sales}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (LABELS + MASK.replace("KIND", "token"), 7),
        (LABELS + MASK.replace("KIND", "keyed_hash"), 7),
        (LABELS + MASK.replace("KIND", "token") + "  shadow: true\n", 7),
        (LABELS + DETECTOR, 7),
    ],
)
async def test_a_masking_key_that_the_settings_have_not_is_found_in_the_policy(
    text: str, line: int
) -> None:
    files, runner = {"f.yaml": text}, InlineRunner()
    for keys, words in {
        (): f"`f.yaml` line {line}: the settings have no masking key `sales`; add it to",
        ("sale", "x"): "masking key `sales`, but `sale`, `x`; did you mean `sale`?",
    }.items():
        with pytest.raises(UnsafeConfigurationError) as refused:
            await checked_policy(files, runner, keys)
        assert words in str(refused.value)
    await checked_policy(files, runner, ("sales",))
    await checked_policy(files, runner, None)


async def test_the_key_without_a_name_is_in_all_settings() -> None:
    mask = MASK.replace("KIND", "token").replace("    key: sales\n", "")
    await checked_policy({"f.yaml": LABELS + mask}, InlineRunner(), ())
