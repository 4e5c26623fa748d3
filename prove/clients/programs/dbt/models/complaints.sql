select id, customer_id, subject, body as said from {{ source('shop', 'tickets') }} where id <= 10
