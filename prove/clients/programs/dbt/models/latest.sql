{{ config(materialized='incremental', unique_key='id') }}
select id, status, placed from {{ source('shop', 'orders') }}
{% if is_incremental() %} where id > 990 {% endif %}
