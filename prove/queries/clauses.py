"""Queries and what stands in FROM as templates (see `words` for what stands in braces)."""

from __future__ import annotations

from typing import NamedTuple

from prove.queries.columns import NUMBER, TEXT


class Shape(NamedTuple):
    """What follows `SHAPED`, over its columns, and the names and kinds of what it gives."""

    template: str
    columns: tuple[tuple[str, str], ...]


SHAPED = "(SELECT {ot} AS k, CONCAT({ct}, '') AS t, {n} AS n FROM {from})"
"""What is pivoted, unpivoted or matched."""

_PIVOTED = (("n", NUMBER), ("p0", TEXT), ("p1", TEXT))
_COUNTED = (("n", NUMBER), ("p0", NUMBER), ("p1", NUMBER))
_UNPIVOTED = (("n", NUMBER), ("v", TEXT), ("w", TEXT))
_MATCHED = (("a", TEXT), ("b", NUMBER))

SHAPES = (
    Shape("PIVOT(MAX(t) FOR k IN ('' AS p0, 'XXX' AS p1))", _PIVOTED),
    Shape("PIVOT(COUNT(*) FOR k IN ('1' AS p0, 'Ada1' AS p1))", _COUNTED),
    Shape("PIVOT(COUNT(t) FOR k IN ('s' AS p0, NULL AS p1))", _COUNTED),
    Shape("PIVOT(STRING_AGG(t ORDER BY t) FOR MOD(n, 2) IN (0 AS p0, 1 AS p1))", _PIVOTED[1:]),
    Shape(
        "PIVOT(ANY_VALUE(t HAVING MAX k) AS p0, COUNT(*) AS p1 FOR n IN (1, 2))",
        (("p0_1", TEXT), ("p1_2", NUMBER)),
    ),
    Shape("UNPIVOT(v FOR w IN (k, t))", _UNPIVOTED),
    Shape("UNPIVOT INCLUDE NULLS (v FOR w IN (k AS 'x', t AS 'y'))", _UNPIVOTED),
    Shape("UNPIVOT EXCLUDE NULLS ((v, z) FOR w IN ((k, t) AS 'x'))", (*_UNPIVOTED, ("z", TEXT))),
    Shape(
        "MATCH_RECOGNIZE (PARTITION BY k ORDER BY n MEASURES MAX(A.t) AS a, COUNT(B.n) AS b"
        " PATTERN (A B*) DEFINE A AS {p}, B AS n > PREV(n))",
        (("k", TEXT), *_MATCHED),
    ),
    Shape(
        "MATCH_RECOGNIZE (ORDER BY t, n MEASURES MIN(t) AS a, MATCH_NUMBER() AS b"
        " PATTERN (A+) DEFINE A AS {p})",
        _MATCHED,
    ),
    Shape(
        "MATCH_RECOGNIZE (ORDER BY n MEASURES MAX(CLASSIFIER()) AS a, LAST(n) AS b"
        " AFTER MATCH SKIP TO NEXT ROW PATTERN ((A | B) C?) DEFINE A AS t > '3', B AS {p},"
        " C AS t < NEXT(t))",
        _MATCHED,
    ),
    Shape(
        "MATCH_RECOGNIZE (ORDER BY n MEASURES FIRST(t) AS a, MAX(MATCH_ROW_NUMBER()) AS b"
        " PATTERN (^ A{1,2} $ | A) DEFINE A AS {p})",
        _MATCHED,
    ),
)

ARRAYS = (
    "SPLIT({t}, '1')",
    "[{t}, {ct}]",
    "ARRAY(SELECT {t:i} FROM {from:i} WHERE {c:b})",
    "ARRAY_FILTER([{t}, 'x'], e -> e > {ct})",
    "JSON_VALUE_ARRAY(TO_JSON([{t}, {ct}]))",
)

SELECTS: dict[str, int] = {
    "SELECT {items} FROM {from}{where}": 30,
    "SELECT DISTINCT {items} FROM {from}{where}": 3,
    "SELECT {windows} FROM {from}{where}": 7,
    "SELECT {items} FROM {from}{where} QUALIFY {wn} > 1": 2,
    "SELECT {items} FROM {from} WHERE {c} QUALIFY {wn} = 1 OR {wt} > '3'": 1,
    "SELECT {items} FROM {from}{where} ORDER BY {by}, 1 LIMIT {d}": 3,
    "SELECT {items} FROM {from} ORDER BY {by}, 1 LIMIT 3 OFFSET 1": 1,
    "SELECT {aggregates} FROM {from}{where}": 4,
    "SELECT {aggregates} FROM {from}{where} GROUP BY {any}": 6,
    "SELECT {aggregates} FROM {from} GROUP BY {any}, {any} HAVING COUNT(*) > 1": 1,
    "SELECT {aggregates} FROM {from} GROUP BY {any} HAVING {aggregated} > '4'": 2,
    "SELECT {aggregates} FROM {from} GROUP BY {any} HAVING {counted} > 1": 1,
    "SELECT {aggregates} FROM {from} HAVING {counted} > 1": 1,
    "SELECT {aggregates} FROM {from} GROUP BY {any} ORDER BY {counted}, 1 LIMIT 2": 1,
    "SELECT {aggregates} FROM {from} GROUP BY {any} QUALIFY RANK() OVER (ORDER BY {counted}) = 1": 1,
    "SELECT {aggregates} FROM {from} GROUP BY ROLLUP({any}, {any})": 1,
    "SELECT {aggregates} FROM {from} GROUP BY CUBE({any}, {any})": 1,
    "SELECT {aggregates} FROM {from} GROUP BY GROUPING SETS(({any}, {any}), {any}, ())": 1,
    "SELECT {aggregates} FROM {from} GROUP BY GROUPING SETS(ROLLUP({any}), CUBE({any}), ())": 1,
    "({query}) UNION ALL ({query})": 2,
    "({query}) UNION DISTINCT ({query})": 1,
    "({query}) INTERSECT DISTINCT ({query})": 1,
    "({query}) EXCEPT DISTINCT ({query})": 1,
    "({query}) UNION ALL BY NAME ({query})": 1,
    "({query}) FULL UNION ALL BY NAME ({query})": 1,
    "({query}) LEFT UNION DISTINCT BY NAME ({query})": 1,
    "({query}) UNION ALL CORRESPONDING ({query})": 1,
    "({query}) INNER UNION ALL BY NAME ({query})": 1,
    "({query}) EXCEPT DISTINCT STRICT CORRESPONDING ({query})": 1,
    "({query}) UNION ALL ({query}) ORDER BY 1 LIMIT 3": 1,
    "WITH s AS ({query}) SELECT * FROM s": 1,
    "FROM {from} |> WHERE {c} |> SELECT {items}": 1,
}
"""Queries with given columns, and how often each is made."""

DECIDING: dict[str, int] = {
    "SELECT {raw} AS a FROM {from} WHERE {c}": 2,
    "SELECT 1 AS one FROM {from} WHERE {c}": 1,
    "SELECT COUNT(*) AS n FROM {from} WHERE {c}": 1,
    "SELECT {raw} AS a FROM {from} WHERE {asked}": 1,
    "SELECT {raw} AS a FROM {from} ORDER BY {by}": 2,
    "SELECT {raw} AS a FROM {from} ORDER BY {by} LIMIT {d}": 1,
    "SELECT {raw} AS a, {wn} AS w FROM {from}": 2,
    "SELECT {raw} AS a, {wt} AS w FROM {from}": 2,
    "SELECT {raw} AS a FROM {from} QUALIFY {wn} = 1": 1,
    "SELECT COUNT(*) AS n FROM {from} GROUP BY {any}": 1,
    "SELECT {aggregated} AS a FROM {from}": 2,
    "SELECT {aggregated} AS a FROM {from} GROUP BY {any}": 1,
    "SELECT COUNT(*) AS n FROM {joined}": 1,
    "SELECT COUNT(*) AS n FROM {shaped}": 1,
    "SELECT {raw} AS a FROM {from} JOIN (SELECT {ot:i} AS o FROM {from:i}) AS z ON"
    " RIGHT(o, 1) > RIGHT({ct}, 1)": 1,
    "SELECT y.a FROM (SELECT {raw} AS a, {on} AS u FROM {from}) AS y JOIN (SELECT u FROM"
    " UNNEST(GENERATE_ARRAY(1, 99, 2)) AS u) AS z USING (u)": 2,
    "SELECT COUNT(*) AS n FROM (SELECT {on} AS u FROM {from}) AS y FULL JOIN (SELECT u FROM"
    " UNNEST(GENERATE_ARRAY(1, 99, 2)) AS u) AS z USING (u)": 1,
    "SELECT {raw} AS a FROM {from} WHERE EXISTS(SELECT 1 FROM UNNEST([1]) WHERE {hit})": 1,
    "SELECT {raw} AS a FROM {from} WHERE RIGHT({ot}, 1) IN (SELECT CAST(e AS STRING) FROM"
    " UNNEST([0, 2, 4, 6, 8]) AS e)": 1,
    "SELECT (SELECT MAX(e) FROM UNNEST([1, 2]) AS e WHERE {hit}) AS a FROM {from}": 1,
    "SELECT ARRAY(SELECT e FROM UNNEST([1, 2]) AS e WHERE {hit}) AS a FROM {from}": 1,
    "SELECT ARRAY_FILTER([{raw}], e -> {hit}) AS a FROM {from}": 1,
    "SELECT WITH(w AS {ot}, IF(RIGHT(w, 1) > '4', 1, 2)) AS a FROM {from}": 1,
    "SELECT {raw} AS a FROM {from} WHERE RIGHT(LAX_STRING(JSON_OBJECT('k', {ot}).k), 1) > '4'": 2,
    "SELECT * FROM (SELECT {ct} AS o, {ot} AS k FROM {from})"
    " PIVOT(COUNT(*) FOR (RIGHT(k, 1) > '4') IN (TRUE AS p0, FALSE AS p1))": 1,
    "SELECT p0, p1 FROM (SELECT {ot} AS k, {cn} AS n FROM {from})"
    " PIVOT(MAX(n) FOR MOD(n, 2) IN (0 AS p0, 1 AS p1))": 1,
    "SELECT o FROM (SELECT {ct} AS o, {ot} AS k, CONCAT({ct}, '') AS t FROM {from})"
    " UNPIVOT(v FOR w IN (k, t)) ORDER BY v": 1,
    "SELECT * FROM (SELECT {cn} AS n, {ot} AS k FROM {from}) MATCH_RECOGNIZE (ORDER BY n"
    " MEASURES MAX(n) AS a, COUNT(*) AS b PATTERN (A+) DEFINE A AS RIGHT(k, 1) > '4')": 1,
    "SELECT u FROM UNNEST(GENERATE_ARRAY(1, 99, 2)) AS u EXCEPT DISTINCT (SELECT {on} FROM {from})": 1,
    "SELECT COUNT(*) AS n FROM ((SELECT {ot} FROM {from}) EXCEPT DISTINCT (SELECT '1'))": 1,
    "SELECT COUNT(*) AS n FROM (SELECT DISTINCT {ot} FROM {from})": 1,
    "DELETE FROM {base} WHERE {hit}": 1,
    "FROM {from} |> ASSERT {hit}, {ct} |> AGGREGATE COUNT(*) AS n": 1,
    "FROM {from} |> WHERE {c} |> AGGREGATE COUNT(*) AS n": 1,
    "FROM {from} |> AGGREGATE COUNT(*) AS n GROUP AND ORDER BY {any} |> SELECT n": 1,
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n <"
    " (SELECT MOD(SUM(LENGTH({ot:i})), 9) FROM {from:i})) SELECT * FROM r": 1,
    "WITH RECURSIVE r AS (SELECT 1 AS n, '' AS t UNION ALL SELECT n + 1, {ot:i} FROM r, {from:i}"
    " WHERE n < 2) SELECT n FROM r WHERE RIGHT(t, 1) > '4'": 1,
}
"""Queries in which something masked may decide on what is shown, and how often a round has each."""

WHOLES: dict[str, int] = {
    "SELECT {raw} AS a FROM {from}{where}": 8,
    "SELECT {raw} AS a, {raw} AS b FROM {from} ORDER BY {by}, {by}": 4,
    "SELECT {k} AS a FROM {from} GROUP BY a": 2,
    "SELECT {k} AS a, {aggregated} AS b FROM {from} GROUP BY 1 ORDER BY {counted}": 2,
    "SELECT {k} AS a, {counted} AS b FROM {from} GROUP BY ALL": 3,
    "SELECT {k} AS a, {k2} AS b, GROUPING({k}) AS g, {counted} AS v FROM {from}"
    " GROUP BY ROLLUP({k}, {k2})": 1,
    "SELECT {k} AS a, GROUPING({k}) AS g, {counted} AS v FROM {from}"
    " GROUP BY GROUPING SETS({k}, CUBE({k2}), ())": 1,
    "SELECT {t} AS a, RANK() OVER w AS b, SUM(MOD({n}, 99)) OVER (w ROWS 1 PRECEDING) AS c"
    " FROM {from}{where} WINDOW w AS (PARTITION BY {any} ORDER BY {by})": 2,
    "SELECT LAG({t}) OVER w AS a FROM {from} WINDOW v AS (PARTITION BY {any}), w AS (v ORDER BY"
    " {by})": 2,
    "SELECT {n} AS a FROM {from} QUALIFY ROW_NUMBER() OVER w = 1 WINDOW w AS ({ordered})": 1,
    "SELECT DISTINCT {raw} IS NULL AS a, {t} AS b FROM {from} ORDER BY b": 1,
    "SELECT AS STRUCT {t} AS a, {n} AS b FROM {from}{where}": 2,
    "SELECT AS STRUCT {row}, {n} AS n FROM {from}{where}": 2,
    "SELECT AS STRUCT {row}.* FROM {from}": 1,
    "SELECT AS VALUE STRUCT({t} AS a, {raw} AS b) FROM {from}{where}": 2,
    "SELECT AS VALUE {row} FROM {from}{where}": 2,
    "SELECT {row} AS r FROM {from}{where}": 2,
    "SELECT {row}.* FROM {from}{where}": 2,
    "SELECT ARRAY_AGG({row}) AS a FROM {from}{where}": 1,
    "SELECT ANY_VALUE({row}).* FROM {from}{where}": 1,
    "SELECT ARRAY_AGG({row} ORDER BY {by} LIMIT 2)[SAFE_OFFSET(0)].* FROM {from}": 1,
    "SELECT ARRAY(SELECT AS STRUCT {t} AS a, {n} AS b) AS s FROM {from}{where}": 1,
    "SELECT z.* FROM UNNEST(ARRAY(SELECT {row:i} FROM {from:i})) AS z": 1,
    "SELECT TO_JSON({row}) AS j, TO_JSON({row}).id AS i FROM {from}": 2,
    "SELECT COUNT(*) AS n FROM {from} WHERE {c}": 4,
    "SELECT 1 AS one FROM {from} WHERE {c}": 4,
    "SELECT 1 AS one FROM {from} ORDER BY {by} LIMIT {d}": 1,
    "SELECT {fails} AS f FROM {from}": 5,
    "SELECT 1 AS one FROM {from} WHERE {fails} > '1'": 2,
    "SELECT {asked} AS q FROM {from}": 8,
    "SELECT {text_asked} AS q FROM {from}": 6,
    "SELECT {number_asked} AS q FROM {from}": 4,
    "SELECT 1 AS one FROM {from} WHERE {asked}": 4,
    "SELECT {text} AS x FROM {from}": 14,
    "SELECT {number} AS x FROM {from}": 7,
    "SELECT {called} AS x FROM {from}": 26,
    "SELECT {summed} AS x FROM {from}": 6,
    "SELECT {aggregated} AS x FROM {from}": 4,
    "SELECT {wt} AS x FROM {from}": 4,
    "SELECT {wn} AS x FROM {from}": 4,
    "SELECT * FROM {shaped}": 8,
    "SELECT {k} AS a FROM {from} WHERE {k} IN (SELECT {k} FROM {from:i}{where:i})": 1,
    "WITH w AS (SELECT {raw} AS a, {raw} AS b, {t} AS c FROM {from}) SELECT a FROM w WHERE c > '3'": 2,
    "WITH w AS (SELECT {t} AS a, {n} AS b FROM {from}), v AS (SELECT a FROM w WHERE b > 3)"
    " SELECT v.a, w.b FROM v JOIN w USING (a)": 1,
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n <"
    " (SELECT MAX(MOD({n:i}, 9)) FROM {from:i})) SELECT * FROM r": 2,
    "WITH RECURSIVE r AS (SELECT 1 AS n, '' AS p UNION ALL SELECT r.n + 1, CONCAT(p, {ct:i}) FROM r,"
    " {from:i} WHERE r.n < 3 AND {c:i}) SELECT * FROM r": 2,
    "WITH RECURSIVE r AS (SELECT {ct:i} AS t FROM {from:i} UNION ALL SELECT CONCAT(t, 'x') FROM r)"
    " WITH DEPTH AS d MAX 2 SELECT * FROM r": 1,
}
"""Queries with columns of any type."""
