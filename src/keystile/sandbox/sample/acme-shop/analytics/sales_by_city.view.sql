SELECT customers.address.city, COUNT(*) AS orders, SUM(orders.total) AS total
FROM shop.orders JOIN shop.customers ON customers.id = orders.customer_id
GROUP BY city
