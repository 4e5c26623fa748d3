select regions.name, count(*) as n
from {{ source('shop', 'orders') }} as orders
join {{ ref('regions') }} as regions on regions.id = mod(orders.id, 2) + 1
group by regions.name
