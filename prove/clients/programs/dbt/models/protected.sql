select id, email, ssn from {{ source('shop', 'customers') }} where id <= 10
