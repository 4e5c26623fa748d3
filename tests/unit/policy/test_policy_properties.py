"""What must hold for every policy and every query, tried on many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from keystile.model.decision import Decision, Effect, Would
from keystile.model.facts import Action, QueryFacts, Use, used_columns
from keystile.model.strength import rank
from keystile.policy.compile import assembled
from keystile.policy.useless import useless

LABELS = [
    {"label": "pii", "columns": ["email", "address"]},
    {"label": "pii.ssn", "columns": ["ssn"]},
    {"label": "pii.zip", "columns": ["zip"]},
    {"label": "secret", "columns": ["customers.name", "ssn"]},
]
NAMES = ["pii", "pii.ssn", "pii.zip", "secret"]
ORDER = {Effect.ALLOW: 0, Effect.REQUIRE_APPROVAL: 1, Effect.DENY: 2}

Rule = dict[str, Any]

actions = st.lists(st.sampled_from(list(Action)[:4]), min_size=1, max_size=3, unique=True)
unmasks = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)
conditions = st.sampled_from(
    [
        *(f"query.{word}('{label}')" for word in ("touches", "outputs") for label in NAMES),
        "agent.attributes.purpose == 'support'",
        "!query.filters('pii')",
    ]
)
subjects = st.fixed_dictionaries(
    {},
    optional={
        "agents": st.sampled_from([{"groups": ["g"]}, {"names": ["demo"]}, {"groups": ["h"]}]),
        "resources": st.sampled_from(
            [
                {"datasets": ["acme-shop.shop"]},
                {"tables": ["*.*.orders"]},
                {"projects": ["acme-shop"]},
            ]
        ),
        "when": conditions,
    },
)
denials = st.builds(lambda about, deny: {**about, "deny": deny}, subjects, actions)
permissions = st.builds(
    lambda about, allow, unmask: {
        **about,
        "allow": allow,
        **({"unmask": unmask} if "read" in allow else {}),
    },
    subjects,
    actions,
    unmasks,
)
demands = st.builds(
    lambda about, unmask: {**about, "require_approval": {"from": ["p"], "unmask": unmask}},
    subjects,
    unmasks,
)
ceilings = st.builds(
    lambda about, per: {
        **about,
        "agents": {"groups": ["g", "h"]},
        "limits": {"per": per, "bytes_per_day": "1GB", "rows_per_query": 5},
    },
    subjects,
    st.sampled_from(["agent", "person", "group"]),
)
DEMAND: Rule = {"require_approval": {"from": ["p"]}}
OPEN: Rule = {"allow": list(Action)[:4]}
# Without a rule that allows all, nearly every question is denied, whatever the code does.
rules = st.builds(
    lambda bases, more: [*bases, *more],
    st.sampled_from([[OPEN], [OPEN], [OPEN], []]),
    st.lists(permissions | demands | demands | ceilings | denials, max_size=6),
)
first_or_last = st.sampled_from(["a", "z"])
"""A name before or behind those of `decide`: rules are looked at in the order of their names."""

masks = st.builds(
    lambda label, mask: {"label": label, "mask": mask},
    st.sampled_from(NAMES),
    st.sampled_from(
        [
            {"kind": "null"},
            {"kind": "default"},
            {"kind": "email"},
            {"kind": "keyed_hash"},
            {"kind": "keep_last", "count": 4},
            {"kind": "pattern", "pattern": "X"},
        ]
    ),
)
row_filters = st.builds(
    lambda about, table: {**about, "tables": [table], "where": "id = 1"},
    st.sampled_from([{}, {"agents": {"groups": ["g"]}}, {"agents": {"names": ["demo"]}}]),
    st.sampled_from(["Acme-Shop.shop.*", "*.*.orders", "acme-shop.shop.customers", "p.d.t"]),
)
columns = st.lists(st.sampled_from(["id", "name", "email", "SSN", "address.zip"]), unique=True)
groups = st.lists(st.sampled_from(["g", "h"]), unique=True)
attributes = st.sampled_from([{}, {"purpose": "support"}, {"purpose": "other"}])


@st.composite
def questions(draw: st.DrawFn, shop: Any) -> tuple[Any, QueryFacts]:
    facts = shop.selects(shop.customers, *draw(columns), use=draw(st.sampled_from(list(Use))))
    if draw(st.booleans()):
        facts = msgspec.structs.replace(
            facts, actions=(Action.READ, *draw(actions)), writes=(shop.orders.id,)
        )
    return shop.agent(*draw(groups), **draw(attributes)), facts


def decide(
    shop: Any, question: Any, rule_list: Sequence[Rule], mask_list: Sequence[Any]
) -> Decision:
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(rule_list)]
    text = json.dumps({"labels": LABELS, "masks": list(mask_list), "rules": named})
    principal, facts = question
    return assembled({"f": text})[0].decide(
        principal, facts, (shop.customers, shop.orders), shop.context
    )


@given(st.data(), rules)
def test_what_is_hidden_is_never_read_nor_written(
    shop: Any, data: st.DataObject, list_: list[Rule]
) -> None:
    principal, facts = data.draw(questions(shop))
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(list_)]
    made = assembled({"f": json.dumps({"labels": LABELS, "rules": named})})[0]
    tables = (shop.customers, shop.orders)
    decision = made.decide(principal, facts, tables, shop.context)
    for table in (*facts.reads, *facts.writes):
        if not made.may_see_table(principal, table, shop.context):
            assert decision.effect is Effect.DENY
        if hiding := made.hidden_by(principal, table, shop.context):
            rules_of = {reason.rule for reason in decision.reasons}
            assert {reason.rule for reason in hiding.reasons if reason.untold} <= rules_of
            assert not made.may_see_table(principal, table, shop.context)


@given(st.data(), rules, denials)
def test_one_more_deny_never_shows_more(
    shop: Any, data: st.DataObject, before: list[Rule], denial: Rule
) -> None:
    principal, _ = data.draw(questions(shop))
    seen = []
    for list_ in (before, [*before, denial]):
        named = [{"name": f"r{number}", **rule} for number, rule in enumerate(list_)]
        made = assembled({"f": json.dumps({"labels": LABELS, "rules": named})})[0]
        seen.append(
            (
                made.may_see_table(principal, shop.customers.id, shop.context),
                made.may_see_dataset(principal, "acme-shop", "shop", shop.context),
                made.may_see_project(principal, "acme-shop", shop.context),
            )
        )
    assert all(old or not new for old, new in zip(*seen, strict=True))
    table, dataset, project = seen[1]
    assert table <= dataset <= project


@given(st.data(), rules, denials)
def test_one_more_deny_never_allows_more(
    shop: Any, data: st.DataObject, before: list[Rule], denial: Rule
) -> None:
    question, last = data.draw(questions(shop)), {**denial, "name": data.draw(first_or_last)}
    old, new = (decide(shop, question, list_, []) for list_ in (before, [*before, last]))
    assert ORDER[new.effect] >= ORDER[old.effect]
    if new.effect is not Effect.DENY:
        assert (new.masks, new.approvals) == (old.masks, old.approvals)


@given(st.data(), rules, demands)
def test_one_more_demand_never_lets_more_run_unasked(
    shop: Any, data: st.DataObject, before: list[Rule], demand: Rule
) -> None:
    question, last = data.draw(questions(shop)), {**demand, "name": data.draw(first_or_last)}
    old, new = (decide(shop, question, list_, []) for list_ in (before, [*before, last]))
    assert ORDER[new.effect] >= ORDER[old.effect]
    assert set(old.approvals) <= set(new.approvals) or new.effect is Effect.DENY
    if new.effect is Effect.ALLOW:
        assert new.masks == old.masks


@given(st.data(), rules, st.lists(masks, max_size=6), masks)
def test_one_more_mask_never_shows_a_column_nor_weakens_its_label(
    shop: Any, data: st.DataObject, list_: list[Rule], before: list[Any], mask: Any
) -> None:
    question = data.draw(questions(shop))
    after = data.draw(st.sampled_from([[*before, mask], [mask, *before]]))
    old, new = (decide(shop, question, list_, held) for held in (before, after))
    assert old.effect is new.effect
    assert {held.column for held in old.masks} == {held.column for held in new.masks}
    if mask["label"] in {held["label"] for held in before}:
        strength = {held.column: rank(held.mask) for held in old.masks}
        assert all(rank(held.mask) <= strength[held.column] for held in new.masks)


@given(st.data(), rules, st.lists(masks, max_size=4), st.integers(1, 4))
def test_files_and_their_order_mean_nothing(
    shop: Any, data: st.DataObject, list_: list[Rule], held: list[Any], pieces: int
) -> None:
    principal, facts = data.draw(questions(shop))
    entries = [("labels", label) for label in LABELS]
    entries += [("masks", mask) for mask in held]
    entries += [("rules", {"name": f"r{n}", **rule}) for n, rule in enumerate(list_)]
    made = []
    for order in (entries, data.draw(st.permutations(entries))):
        files: dict[str, dict[str, list[Any]]] = {}
        for number, (word, entry) in enumerate(order):
            files.setdefault(f"f{number % pieces}", {}).setdefault(word, []).append(entry)
        made.append(assembled({name: json.dumps(file) for name, file in files.items()})[0])
    tables = (shop.customers, shop.orders)
    one, other = (policy.decide(principal, facts, tables, shop.context) for policy in made)
    assert one == other  # digest included


@given(st.data(), rules, st.lists(row_filters, max_size=3), permissions)
def test_a_rule_that_is_refused_for_never_applying_changes_no_decision(
    shop: Any, data: st.DataObject, list_: list[Rule], filters: list[Rule], shadowed: Rule
) -> None:
    # One that takes all of another, for of drawn ones few do.
    taking = {("deny" if word == "allow" else word): said for word, said in shadowed.items()}
    taking.pop("unmask", None)
    named = [
        {"name": f"r{number}", **rule} for number, rule in enumerate([*list_, shadowed, taking])
    ]
    named += [{"name": f"f{number}", **rule} for number, rule in enumerate(filters)]

    found = told_useless(named)
    assume(found)
    without = data.draw(st.sampled_from(found))
    question = data.draw(questions(shop))
    less = [*named[:without], *named[without + 1 :]]
    assert outcome(shop, question, named) == outcome(shop, question, less)


def as_text(entries: list[Rule]) -> dict[str, str]:
    by_word: dict[str, list[Rule]] = {"rules": [], "row_filters": []}
    for entry in entries:
        by_word["row_filters" if "where" in entry else "rules"].append(entry)
    return {"f": json.dumps({"labels": LABELS, **by_word})}


def told_useless(entries: list[Rule]) -> list[int]:
    """Give the numbers of those that are refused; row filters are to come last."""
    _, placed = assembled(as_text(entries))
    return [one.number for one in useless([(one.rule, one.compiled) for one in placed])]


def outcome(shop: Any, question: Any, entries: list[Rule]) -> Decision:
    made, _ = assembled(as_text(entries))
    principal, facts = question
    # Filters and masks are told of each table given, so these are the query's own.
    named = {*facts.reads, *facts.writes, *(use.column.table for use in facts.columns)}
    tables = [one for one in (shop.customers, shop.orders, shop.events) if one.id in named]
    decision = made.decide(principal, facts, tables, shop.context)
    # What is said of a denial may differ: what no rule allows is no secret of another rule.
    reasons = () if decision.effect is Effect.DENY else decision.reasons
    return msgspec.structs.replace(decision, policy_digest="", reasons=reasons)


places = st.sampled_from(
    [
        {"projects": ["acme-shop"]},
        {"projects": ["acme-*"]},
        {"datasets": ["acme-shop.shop"]},
        {"datasets": ["acme-shop.sh*"]},
        {"datasets": ["acme-shop.*op"]},
        {"tables": ["acme-shop.shop.orders", "acme-shop.shop.customers"]},
        {"datasets": ["acme-shop.analytics"]},
        {"tables": ["acme-shop.shop.orders"]},
        {"tables": ["*.*.orders"]},
        {"tables": ["acme-shop.*.e*"]},
    ]
)
somewhere = st.builds(
    lambda effect, place: {**effect, "resources": place},
    st.sampled_from([{"allow": ["read"]}, {"deny": ["read"]}, DEMAND]),
    places,
)


@given(st.lists(somewhere, min_size=2, max_size=4), st.lists(row_filters, max_size=1))
def test_no_rule_is_refused_for_others_that_are_about_other_tables(
    shop: Any, list_: list[Rule], filters: list[Rule]
) -> None:
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(list_)]
    named += [{"name": f"f{number}", **rule} for number, rule in enumerate(filters)]
    for without in told_useless(named):
        less = [*named[:without], *named[without + 1 :]]
        for table in (shop.customers, shop.orders, shop.events):
            question = shop.agent("g"), shop.selects(table, "id")
            assert outcome(shop, question, named) == outcome(shop, question, less)


@given(st.data(), st.lists(permissions, max_size=8))
def test_whom_no_rule_names_gets_nothing(shop: Any, data: st.DataObject, list_: list[Rule]) -> None:
    _, facts = data.draw(questions(shop))
    named = [{**rule, "agents": {"groups": ["g"]}} for rule in list_]
    stranger = shop.agent(name="stranger")
    assert decide(shop, (stranger, facts), named, []).effect is Effect.DENY


@given(st.data(), rules)
def test_the_same_question_gets_the_same_answer(
    shop: Any, data: st.DataObject, list_: list[Rule]
) -> None:
    principal, facts = data.draw(questions(shop))
    text = json.dumps(
        {"labels": LABELS, "rules": [{"name": f"r{n}", **rule} for n, rule in enumerate(list_)]}
    )
    (made, _), (other, _) = assembled({"f": text}), assembled({"f": text})
    tables = (shop.customers, shop.orders)
    first = made.decide(principal, facts, tables, shop.context)
    # Nor does it matter who has asked before: what one is told is remembered for nobody else.
    other.decide(shop.agent("h", purpose="other"), facts, tables, shop.context)
    for policy in (made, other):
        assert policy.decide(principal, facts, tables, shop.context) == first


shadowed = st.lists(permissions | denials | demands, min_size=1, max_size=4).map(
    lambda made: [{**rule, "shadow": True} for rule in made]
)
shadowed_masks = st.lists(masks.map(lambda mask: {**mask, "shadow": True}), max_size=2)
FILTER = {"name": "own", "tables": ["acme-shop.shop.*"], "where": "id = 1", "shadow": True}


@given(st.data(), rules, st.lists(masks, max_size=3), shadowed, shadowed_masks, st.booleans())
def test_what_is_in_shadow_never_changes_a_decision(  # noqa: PLR0913, PLR0917 - what a world is made of
    shop: Any,
    data: st.DataObject,
    rule_list: list[Rule],
    mask_list: list[Any],
    in_shadow: list[Rule],
    shadow_masks: list[Any],
    filtered: bool,  # noqa: FBT001 - hypothesis gives it so
) -> None:
    principal, facts = data.draw(questions(shop))
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(rule_list)]
    more = [{"name": f"s{number}", **rule} for number, rule in enumerate(in_shadow)]
    plain = {"labels": LABELS, "masks": mask_list, "rules": named}
    other = {"masks": shadow_masks, "rules": more, "row_filters": [FILTER] * filtered}
    without, _ = assembled({"f": json.dumps(plain)})
    with_, _ = assembled({"f": json.dumps(plain), "g": json.dumps(other)})
    tables = (shop.customers, shop.orders)
    one = without.decide(principal, facts, tables, shop.context)
    two = with_.decide(principal, facts, tables, shop.context)
    assert one.shadows == ()
    assert msgspec.structs.replace(two, shadows=(), policy_digest=one.policy_digest) == one
    for table in tables:
        assert with_.may_see_table(principal, table.id, shop.context) == without.may_see_table(
            principal, table.id, shop.context
        )


@given(st.data(), rules, st.lists(masks, max_size=3), permissions | denials | demands)
def test_a_shadow_says_what_enforcing_it_would_do(
    shop: Any, data: st.DataObject, rule_list: list[Rule], mask_list: list[Any], rule: Rule
) -> None:
    question = data.draw(questions(shop))
    real = decide(shop, question, [*rule_list, {**rule, "shadow": True}], mask_list)
    enforced = decide(shop, question, [*rule_list, rule], mask_list)
    would = real.shadows[0].would if real.shadows else Would.NOTHING
    if real.effect is Effect.DENY:
        assert (would is Would.ALLOW) == (enforced.effect is not Effect.DENY)
        return
    assert (would is Would.REFUSE) == (enforced.effect is Effect.DENY)
    if enforced.effect is not Effect.DENY:
        assert (would is Would.ASK) == (len(enforced.approvals) > len(real.approvals))
        if would is Would.NOTHING:
            # Of a column with two labels another one may be the reason for the same mask.
            used = {*used_columns(question[1])}
            kept = [(one.column, one.mask) for one in real.masks if one.column in used]
            assert kept == [(one.column, one.mask) for one in enforced.masks if one.column in used]
