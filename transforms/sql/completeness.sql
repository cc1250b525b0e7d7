-- Requests and tokens that a provider counted against those that request logs told, per provider, model and day.
-- Input: core_charge of some days, buckets and requests.
SELECT provider, model_id, day,
    sum(requests) FILTER (WHERE granularity <> 'request') AS counted_requests,
    sum(requests) FILTER (WHERE granularity = 'request' AND counted) AS logged_requests,
    sum(input_tokens + output_tokens) FILTER (WHERE granularity <> 'request') AS counted_tokens,
    coalesce(sum(input_tokens + output_tokens) FILTER (WHERE granularity = 'request' AND counted), 0) AS logged_tokens
FROM core_charge
GROUP BY ALL
HAVING count(*) FILTER (WHERE granularity <> 'request') > 0
ORDER BY ALL
