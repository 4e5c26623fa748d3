-- Reports of the shape that decision-support benchmarks have, over the tables of `bench/sets.py`.
-- Each query begins at its own `-- name:` line.

-- name: pricing summary
SELECT
  l.return_flag, l.status,
  SUM(l.quantity) AS sum_quantity,
  SUM(l.price) AS sum_price,
  SUM(l.price * (1 - l.discount)) AS sum_discounted,
  SUM(l.price * (1 - l.discount) * (1 + l.tax)) AS sum_charge,
  AVG(l.quantity) AS avg_quantity, AVG(l.price) AS avg_price, AVG(l.discount) AS avg_discount,
  COUNT(*) AS lines
FROM market.order_lines AS l
WHERE l.shipped <= DATE_SUB(DATE '2024-12-01', INTERVAL 90 DAY)
GROUP BY l.return_flag, l.status
ORDER BY l.return_flag, l.status;

-- name: cheapest offer
SELECT s.balance, s.name, c.name AS country, g.id, g.maker, s.street, s.phone, s.remark
FROM market.goods AS g, market.suppliers AS s, market.offers AS o, market.countries AS c, market.regions AS r
WHERE g.id = o.good_id AND s.id = o.supplier_id AND g.size = 15 AND g.kind LIKE '%BRASS'
  AND s.country_id = c.id AND c.region_id = r.id AND r.name = 'EUROPE'
  AND o.cost = (
    SELECT MIN(o2.cost)
    FROM market.offers AS o2, market.suppliers AS s2, market.countries AS c2, market.regions AS r2
    WHERE g.id = o2.good_id AND s2.id = o2.supplier_id AND s2.country_id = c2.id
      AND c2.region_id = r2.id AND r2.name = 'EUROPE')
ORDER BY s.balance DESC, country, s.name, g.id
LIMIT 100;

-- name: unshipped orders
SELECT l.order_id, SUM(l.price * (1 - l.discount)) AS revenue, o.ordered, o.priority
FROM market.buyers AS b
JOIN market.orders AS o ON b.id = o.buyer_id
JOIN market.order_lines AS l ON l.order_id = o.id
WHERE b.segment = 'BUILDING' AND o.ordered < '2024-03-15' AND l.shipped > '2024-03-15'
GROUP BY l.order_id, o.ordered, o.priority
ORDER BY revenue DESC, o.ordered
LIMIT 10;

-- name: late orders by priority
SELECT o.priority, COUNT(*) AS orders
FROM market.orders AS o
WHERE o.ordered >= DATE '2024-07-01' AND o.ordered < DATE_ADD(DATE '2024-07-01', INTERVAL 3 MONTH)
  AND EXISTS (
    SELECT * FROM market.order_lines AS l
    WHERE l.order_id = o.id AND l.committed < l.received)
GROUP BY o.priority
ORDER BY o.priority;

-- name: revenue of local suppliers
SELECT c.name, SUM(l.price * (1 - l.discount)) AS revenue
FROM market.buyers AS b, market.orders AS o, market.order_lines AS l, market.suppliers AS s,
  market.countries AS c, market.regions AS r
WHERE b.id = o.buyer_id AND l.order_id = o.id AND l.supplier_id = s.id
  AND b.country_id = s.country_id AND s.country_id = c.id AND c.region_id = r.id
  AND r.name = 'ASIA' AND o.ordered BETWEEN '2024-01-01' AND '2024-12-31'
GROUP BY c.name
ORDER BY revenue DESC;

-- name: trade between two countries
SELECT seller, buyer, year, SUM(volume) AS revenue
FROM (
  SELECT c1.name AS seller, c2.name AS buyer, EXTRACT(YEAR FROM l.shipped) AS year,
    l.price * (1 - l.discount) AS volume
  FROM market.suppliers AS s, market.order_lines AS l, market.orders AS o, market.buyers AS b,
    market.countries AS c1, market.countries AS c2
  WHERE s.id = l.supplier_id AND o.id = l.order_id AND b.id = o.buyer_id
    AND s.country_id = c1.id AND b.country_id = c2.id
    AND ((c1.name = 'FRANCE' AND c2.name = 'GERMANY') OR (c1.name = 'GERMANY' AND c2.name = 'FRANCE'))
    AND l.shipped BETWEEN DATE '2023-01-01' AND DATE '2024-12-31')
GROUP BY seller, buyer, year
ORDER BY seller, buyer, year;

-- name: market share
SELECT year, SUM(IF(country = 'BRAZIL', volume, 0)) / SUM(volume) AS share
FROM (
  SELECT EXTRACT(YEAR FROM o.ordered) AS year, l.price * (1 - l.discount) AS volume, c2.name AS country
  FROM market.goods AS g
  JOIN market.order_lines AS l ON g.id = l.good_id
  JOIN market.suppliers AS s ON s.id = l.supplier_id
  JOIN market.orders AS o ON o.id = l.order_id
  JOIN market.buyers AS b ON b.id = o.buyer_id
  JOIN market.countries AS c1 ON c1.id = b.country_id
  JOIN market.regions AS r ON r.id = c1.region_id
  JOIN market.countries AS c2 ON c2.id = s.country_id
  WHERE r.name = 'AMERICA' AND g.kind = 'ECONOMY ANODIZED STEEL')
GROUP BY year
ORDER BY year;

-- name: returned goods
SELECT b.id, b.name, SUM(l.price * (1 - l.discount)) AS lost, b.balance, c.name AS country,
  b.street, b.phone, b.remark
FROM market.buyers AS b, market.orders AS o, market.order_lines AS l, market.countries AS c
WHERE b.id = o.buyer_id AND l.order_id = o.id AND l.return_flag = 'R' AND b.country_id = c.id
GROUP BY b.id, b.name, b.balance, b.phone, c.name, b.street, b.remark
ORDER BY lost DESC
LIMIT 20;

-- name: important stock
SELECT o.good_id, SUM(o.cost * o.available) AS worth
FROM market.offers AS o, market.suppliers AS s, market.countries AS c
WHERE o.supplier_id = s.id AND s.country_id = c.id AND c.name = 'GERMANY'
GROUP BY o.good_id
HAVING SUM(o.cost * o.available) > (
  SELECT SUM(o2.cost * o2.available) * 0.0001
  FROM market.offers AS o2, market.suppliers AS s2, market.countries AS c2
  WHERE o2.supplier_id = s2.id AND s2.country_id = c2.id AND c2.name = 'GERMANY')
ORDER BY worth DESC;

-- name: orders per buyer
SELECT orders, COUNT(*) AS buyers
FROM (
  SELECT b.id, COUNT(o.id) AS orders
  FROM market.buyers AS b
  LEFT JOIN market.orders AS o ON b.id = o.buyer_id AND o.remark NOT LIKE '%special%requests%'
  GROUP BY b.id)
GROUP BY orders
ORDER BY buyers DESC, orders DESC;

-- name: best supplier
WITH revenue AS (
  SELECT l.supplier_id, SUM(l.price * (1 - l.discount)) AS total
  FROM market.order_lines AS l
  WHERE l.shipped >= DATE '2024-01-01' AND l.shipped < DATE '2024-04-01'
  GROUP BY l.supplier_id)
SELECT s.id, s.name, s.street, s.phone, revenue.total
FROM market.suppliers AS s, revenue
WHERE s.id = revenue.supplier_id AND revenue.total = (SELECT MAX(total) FROM revenue)
ORDER BY s.id;

-- name: discounted brands
SELECT SUM(l.price * (1 - l.discount)) AS revenue
FROM market.order_lines AS l, market.goods AS g
WHERE (g.id = l.good_id AND g.brand = 'Brand#12' AND g.box IN ('SM CASE', 'SM BOX', 'SM PACK')
    AND l.quantity >= 1 AND l.quantity <= 11 AND g.size BETWEEN 1 AND 5 AND l.mode IN ('AIR', 'RAIL'))
  OR (g.id = l.good_id AND g.brand = 'Brand#23' AND g.box IN ('MED BAG', 'MED BOX', 'MED PACK')
    AND l.quantity >= 10 AND l.quantity <= 20 AND g.size BETWEEN 1 AND 10 AND l.mode IN ('AIR', 'RAIL'))
  OR (g.id = l.good_id AND g.brand = 'Brand#34' AND g.box IN ('LG CASE', 'LG BOX', 'LG PACK')
    AND l.quantity >= 20 AND l.quantity <= 30 AND g.size BETWEEN 1 AND 15 AND l.mode IN ('AIR', 'RAIL'));

-- name: suppliers who kept orders waiting
SELECT s.name, COUNT(*) AS waits
FROM market.suppliers AS s
JOIN market.order_lines AS l1 ON s.id = l1.supplier_id
JOIN market.orders AS o ON o.id = l1.order_id
JOIN market.countries AS c ON s.country_id = c.id
WHERE o.status = 'F' AND l1.received > l1.committed AND c.name = 'SAUDI ARABIA'
  AND EXISTS (
    SELECT * FROM market.order_lines AS l2
    WHERE l2.order_id = l1.order_id AND l2.supplier_id <> l1.supplier_id)
  AND NOT EXISTS (
    SELECT * FROM market.order_lines AS l3
    WHERE l3.order_id = l1.order_id AND l3.supplier_id <> l1.supplier_id AND l3.received > l3.committed)
GROUP BY s.name
ORDER BY waits DESC, s.name
LIMIT 100;

-- name: likely buyers
SELECT code, COUNT(*) AS buyers, SUM(balance) AS total
FROM (
  SELECT SUBSTR(b.phone, 1, 2) AS code, b.balance
  FROM market.buyers AS b
  WHERE SUBSTR(b.phone, 1, 2) IN ('13', '31', '23', '29', '30', '18', '17')
    AND b.balance > (SELECT AVG(b2.balance) FROM market.buyers AS b2 WHERE b2.balance > 0)
    AND NOT EXISTS (SELECT * FROM market.orders AS o WHERE o.buyer_id = b.id))
GROUP BY code
ORDER BY code;

-- name: three channels by quarter
WITH sales AS (
  SELECT 'shop' AS channel, EXTRACT(QUARTER FROM o.ordered) AS quarter, b.segment, o.total
  FROM market.orders AS o JOIN market.buyers AS b ON o.buyer_id = b.id WHERE o.channel = 'S'
  UNION ALL
  SELECT 'web', EXTRACT(QUARTER FROM o.ordered), b.segment, o.total
  FROM market.orders AS o JOIN market.buyers AS b ON o.buyer_id = b.id WHERE o.channel = 'W'
  UNION ALL
  SELECT 'catalogue', EXTRACT(QUARTER FROM o.ordered), b.segment, o.total
  FROM market.orders AS o JOIN market.buyers AS b ON o.buyer_id = b.id WHERE o.channel = 'C')
SELECT channel, quarter, segment, COUNT(*) AS orders, SUM(total) AS total
FROM sales
GROUP BY ROLLUP (channel, quarter, segment)
ORDER BY channel, quarter, segment;

-- name: year over year
WITH yearly AS (
  SELECT b.id, b.name, b.email, EXTRACT(YEAR FROM o.ordered) AS year, o.channel,
    SUM((o.total - o.rebate) / 2) AS spent
  FROM market.buyers AS b JOIN market.orders AS o ON b.id = o.buyer_id
  GROUP BY b.id, b.name, b.email, year, o.channel)
SELECT s2.id, s2.name, s2.email
FROM yearly AS s1, yearly AS s2, yearly AS w1, yearly AS w2
WHERE s2.id = s1.id AND s1.id = w2.id AND s1.id = w1.id
  AND s1.channel = 'S' AND w1.channel = 'W' AND s2.channel = 'S' AND w2.channel = 'W'
  AND s1.year = 2023 AND s2.year = 2024 AND w1.year = 2023 AND w2.year = 2024
  AND s1.spent > 0 AND w1.spent > 0
  AND IF(w1.spent > 0, w2.spent / w1.spent, 0) > IF(s1.spent > 0, s2.spent / s1.spent, 0)
ORDER BY s2.id, s2.name, s2.email
LIMIT 100;

-- name: rank within segment
SELECT segment, name, total, place, running
FROM (
  SELECT b.segment, b.name, SUM(o.total) AS total,
    RANK() OVER (PARTITION BY b.segment ORDER BY SUM(o.total) DESC) AS place,
    SUM(SUM(o.total)) OVER (PARTITION BY b.segment ORDER BY SUM(o.total) DESC
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running
  FROM market.buyers AS b JOIN market.orders AS o ON o.buyer_id = b.id
  GROUP BY b.segment, b.name)
WHERE place <= 10
ORDER BY segment, place;

-- name: buckets by case
SELECT
  SUM(CASE WHEN DATE_DIFF(l.shipped, o.ordered, DAY) <= 30 THEN 1 ELSE 0 END) AS d30,
  SUM(CASE WHEN DATE_DIFF(l.shipped, o.ordered, DAY) > 30 AND DATE_DIFF(l.shipped, o.ordered, DAY) <= 60 THEN 1 ELSE 0 END) AS d60,
  SUM(CASE WHEN DATE_DIFF(l.shipped, o.ordered, DAY) > 60 AND DATE_DIFF(l.shipped, o.ordered, DAY) <= 90 THEN 1 ELSE 0 END) AS d90,
  SUM(CASE WHEN DATE_DIFF(l.shipped, o.ordered, DAY) > 90 THEN 1 ELSE 0 END) AS later,
  SUBSTR(g.name, 1, 20) AS good, l.mode
FROM market.order_lines AS l
JOIN market.orders AS o ON o.id = l.order_id
JOIN market.goods AS g ON g.id = l.good_id
GROUP BY good, l.mode
ORDER BY good, l.mode
LIMIT 100;

-- name: one value
SELECT 1;

-- name: one row
SELECT * FROM market.buyers WHERE id = 1;

-- name: count
SELECT COUNT(*) AS orders FROM market.orders WHERE ordered = CURRENT_DATE();
