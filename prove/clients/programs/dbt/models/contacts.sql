select id, email as reached_at, ssn as number from {{ source('shop', 'customers') }} where id <= 10
