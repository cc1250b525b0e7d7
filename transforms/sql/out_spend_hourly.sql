-- One row per hour and combination of dimensions. Input: core_charge of one day, rows that count.
-- A bucket counts only where no request log covers its provider and day (`counted` says so).
SELECT day, date_trunc('hour', used_at) AS hour,
    source, provider, model_id, service_tier, operation, region, account_id, project_id, api_key_id, team, application,
    sum(requests) AS requests,
    sum(input_tokens) AS input_tokens, sum(uncached_input_tokens) AS uncached_input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens, sum(cache_write_5m_tokens) AS cache_write_5m_tokens,
    sum(cache_write_1h_tokens) AS cache_write_1h_tokens, sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(web_searches) AS web_searches,
    sum(list_cost_usd) AS list_cost_usd, sum(effective_cost_usd) AS effective_cost_usd,
    sum(uncached_input_cost_usd) AS uncached_input_cost_usd, sum(cache_read_cost_usd) AS cache_read_cost_usd,
    sum(cache_write_5m_cost_usd) AS cache_write_5m_cost_usd, sum(cache_write_1h_cost_usd) AS cache_write_1h_cost_usd,
    sum(output_cost_usd) AS output_cost_usd,
    sum(unpriced_low_usd) AS unpriced_low_usd, sum(unpriced_high_usd) AS unpriced_high_usd,
    coalesce(sum(requests) FILTER (WHERE price_status = 'unpriced'), 0) AS unpriced_requests
FROM core_charge
WHERE counted
GROUP BY ALL
