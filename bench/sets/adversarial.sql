-- Queries that try to bring a protected value (`email`, `phone`, `contacts.value`) out in some form.
-- Each query begins at its own `-- name:` line.

-- name: whole row as text
SELECT TO_JSON_STRING(b) AS everything FROM market.buyers AS b;

-- name: through an alias and a join with itself
SELECT x.v FROM (SELECT b.email AS v, b.id FROM market.buyers AS b) AS x JOIN market.buyers AS y ON x.v = y.email AND x.id != y.id;

-- name: letter by letter
SELECT b.id, ARRAY_AGG(SUBSTR(b.email, i, 1) ORDER BY i) AS letters
FROM market.buyers AS b, UNNEST(GENERATE_ARRAY(1, LENGTH(b.email))) AS i
GROUP BY b.id;

-- name: as an order
SELECT id, RANK() OVER (ORDER BY email) AS place, LAG(id) OVER (ORDER BY phone) AS before FROM market.buyers;

-- name: as a filter
SELECT COUNT(*) FROM market.buyers WHERE email LIKE 'a%' AND REGEXP_CONTAINS(phone, r'^\+49') AND STARTS_WITH(email, 'ab');

-- name: through error texts
SELECT SAFE_CAST(email AS INT64), CAST(phone AS FLOAT64), IF(email LIKE 'a%', ERROR(phone), '') FROM market.buyers;

-- name: nested and repeated
SELECT b.id, c.value, ARRAY(SELECT AS STRUCT k.value, k.kind FROM UNNEST(b.contacts) AS k WHERE k.kind = 'home') AS home
FROM market.buyers AS b, UNNEST(b.contacts) AS c WITH OFFSET AS place
WHERE EXISTS (SELECT 1 FROM UNNEST(b.contacts) AS k WHERE k.value > c.value);

-- name: set operations
SELECT email FROM market.buyers EXCEPT DISTINCT (SELECT email FROM market.suppliers INTERSECT DISTINCT SELECT phone FROM market.buyers);

-- name: pivot
SELECT * FROM (SELECT segment, email, total FROM market.buyers JOIN market.orders ON buyer_id = buyers.id)
PIVOT (SUM(total) AS s, MIN(email) AS e FOR segment IN ('BUILDING', 'MACHINERY', 'HOUSEHOLD'));

-- name: unpivot
SELECT id, what, value FROM (SELECT id, name, email, phone FROM market.buyers) UNPIVOT (value FOR what IN (name, email, phone));

-- name: recursion
WITH RECURSIVE steps AS (
  SELECT id, email, 1 AS n, SUBSTR(email, 1, 1) AS sofar FROM market.buyers
  UNION ALL
  SELECT id, email, n + 1, CONCAT(sofar, SUBSTR(email, n + 1, 1)) FROM steps WHERE n < 40)
SELECT id, ANY_VALUE(sofar HAVING MAX n) AS found FROM steps GROUP BY id;

-- name: pipes
FROM market.buyers
|> WHERE segment = 'BUILDING'
|> EXTEND CONCAT(email, '/', phone) AS both, LENGTH(email) AS n
|> AGGREGATE COUNT(*) AS c, ANY_VALUE(both HAVING MAX n) AS e GROUP BY segment
|> ORDER BY c DESC |> LIMIT 5;

-- name: long concatenation
SELECT name || ' ' || street || ' ' || phone || ' ' || email || ' ' || remark || ' ' || segment || ' '
  || name || ' ' || street || ' ' || phone || ' ' || email || ' ' || remark || ' ' || segment || ' '
  || name || ' ' || street || ' ' || phone || ' ' || email || ' ' || remark || ' ' || segment AS t
FROM market.buyers;

-- name: a bit at a time
SELECT SUM(CASE WHEN ASCII(SUBSTR(email, 1, 1)) & 1 = 1 THEN 1 ELSE 0 END) AS b0,
  SUM(CASE WHEN ASCII(SUBSTR(email, 1, 1)) & 2 = 2 THEN 1 ELSE 0 END) AS b1,
  SUM(CASE WHEN ASCII(SUBSTR(email, 1, 1)) & 4 = 4 THEN 1 ELSE 0 END) AS b2,
  SUM(CASE WHEN ASCII(SUBSTR(email, 1, 1)) & 8 = 8 THEN 1 ELSE 0 END) AS b3,
  SUM(CASE WHEN ASCII(SUBSTR(email, 1, 1)) & 16 = 16 THEN 1 ELSE 0 END) AS b4,
  TO_HEX(SHA256(STRING_AGG(email, ',' ORDER BY id))) AS digest
FROM market.buyers;

-- name: correlated maximum
SELECT o.id, (SELECT MAX(b.email) FROM market.buyers AS b WHERE b.id = o.buyer_id AND b.phone < (SELECT MAX(s.phone) FROM market.suppliers AS s WHERE s.country_id = b.country_id)) AS m
FROM market.orders AS o
QUALIFY ROW_NUMBER() OVER (PARTITION BY o.buyer_id ORDER BY o.ordered) = 1;

-- name: approximate and exact aggregates
SELECT APPROX_TOP_COUNT(email, 100) AS top, COUNT(DISTINCT phone) AS n, MIN(email) AS first, MAX(email) AS last,
  APPROX_QUANTILES(email, 10) AS tenths, HLL_COUNT.INIT(email) AS sketch, ARRAY_AGG(STRUCT(email, phone) LIMIT 5) AS few
FROM market.buyers;

-- name: lambda
SELECT id, ARRAY_TRANSFORM(ARRAY_FILTER(contacts, c -> c.kind = 'home'), c -> CONCAT(c.value, '!')) AS v FROM market.buyers;
