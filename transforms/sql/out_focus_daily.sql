-- One row per day, seller, model, tier, place, project, price and owner: units and list cost of each unit, to be told
-- as one FOCUS row per unit. Input: core_charge of one day, rows that count and have a cost.
-- A part with a price of its own (`_cost_usd` is not NULL) is not in its whole: audio input, reasoning, images ...
SELECT day, source, provider, model_id, service_tier, region, account_id, project_id, team, application,
    price_id, price_source, price_status,
    sum(requests) AS requests,
    sum(list_cost_usd) AS list_cost_usd, sum(coalesce(effective_cost_usd, 0)) AS effective_cost_usd,
    sum(uncached_input_tokens
        - CASE WHEN audio_input_cost_usd IS NULL THEN 0 ELSE audio_input_tokens END
        - CASE WHEN image_input_cost_usd IS NULL THEN 0 ELSE image_input_tokens END
        - CASE WHEN video_input_cost_usd IS NULL THEN 0 ELSE video_input_tokens END) AS uncached_input_tokens,
    sum(cache_read_tokens
        - CASE WHEN audio_cache_read_cost_usd IS NULL THEN 0 ELSE audio_cache_read_tokens END
        - CASE WHEN image_cache_read_cost_usd IS NULL THEN 0 ELSE image_cache_read_tokens END) AS cache_read_tokens,
    sum(cache_write_5m_tokens) AS cache_write_5m_tokens, sum(cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(cache_write_12h_tokens) AS cache_write_12h_tokens,
    sum(output_tokens
        - CASE WHEN reasoning_cost_usd IS NULL THEN 0 ELSE reasoning_tokens END
        - CASE WHEN audio_output_cost_usd IS NULL THEN 0 ELSE audio_output_tokens END
        - CASE WHEN image_output_cost_usd IS NULL THEN 0 ELSE image_output_tokens END
        - CASE WHEN citation_cost_usd IS NULL THEN 0 ELSE citation_tokens END) AS output_tokens,
    sum(reasoning_tokens) FILTER (WHERE reasoning_cost_usd IS NOT NULL) AS reasoning_tokens,
    sum(audio_input_tokens) FILTER (WHERE audio_input_cost_usd IS NOT NULL) AS audio_input_tokens,
    sum(audio_cache_read_tokens) FILTER (WHERE audio_cache_read_cost_usd IS NOT NULL) AS audio_cache_read_tokens,
    sum(audio_output_tokens) FILTER (WHERE audio_output_cost_usd IS NOT NULL) AS audio_output_tokens,
    sum(image_input_tokens) FILTER (WHERE image_input_cost_usd IS NOT NULL) AS image_input_tokens,
    sum(image_cache_read_tokens) FILTER (WHERE image_cache_read_cost_usd IS NOT NULL) AS image_cache_read_tokens,
    sum(image_output_tokens) FILTER (WHERE image_output_cost_usd IS NOT NULL) AS image_output_tokens,
    sum(video_input_tokens) FILTER (WHERE video_input_cost_usd IS NOT NULL) AS video_input_tokens,
    sum(citation_tokens) FILTER (WHERE citation_cost_usd IS NOT NULL) AS citation_tokens,
    sum(web_searches) AS web_searches, sum(images) AS images, sum(audio_seconds) AS audio_seconds,
    sum(characters) AS characters, sum(pages) AS pages, sum(code_sessions) AS code_sessions,
    sum(uncached_input_cost_usd) AS uncached_input_cost_usd, sum(cache_read_cost_usd) AS cache_read_cost_usd,
    sum(cache_write_5m_cost_usd) AS cache_write_5m_cost_usd, sum(cache_write_1h_cost_usd) AS cache_write_1h_cost_usd,
    sum(cache_write_12h_cost_usd) AS cache_write_12h_cost_usd, sum(output_cost_usd) AS output_cost_usd,
    sum(reasoning_cost_usd) AS reasoning_cost_usd, sum(audio_input_cost_usd) AS audio_input_cost_usd,
    sum(audio_cache_read_cost_usd) AS audio_cache_read_cost_usd, sum(audio_output_cost_usd) AS audio_output_cost_usd,
    sum(image_input_cost_usd) AS image_input_cost_usd, sum(image_cache_read_cost_usd) AS image_cache_read_cost_usd,
    sum(image_output_cost_usd) AS image_output_cost_usd, sum(video_input_cost_usd) AS video_input_cost_usd,
    sum(citation_cost_usd) AS citation_cost_usd, sum(request_cost_usd) AS request_cost_usd,
    sum(web_search_cost_usd) AS web_search_cost_usd, sum(image_cost_usd) AS image_cost_usd,
    sum(audio_second_cost_usd) AS audio_second_cost_usd, sum(character_cost_usd) AS character_cost_usd,
    sum(page_cost_usd) AS page_cost_usd, sum(code_session_cost_usd) AS code_session_cost_usd
FROM core_charge
WHERE counted AND list_cost_usd IS NOT NULL
GROUP BY ALL
