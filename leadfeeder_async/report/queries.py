"""The SQL queries of the report.

``PERIOD`` creates a temporary table with the visits of the report and of the same number of days before it. Most other
queries read that table.
"""

from __future__ import annotations

MAX_COMPANIES = 25
MAX_SHARES = 12
MAX_MONTHS = 12

COVERAGE = """
SELECT account_id, s.first_day,
    coalesce(s.last_day, least(v.last_visit, CAST(now() AT TIME ZONE 'UTC' AS DATE))) AS last_day,
    s.finished_at AT TIME ZONE 'UTC' AS finished_at, coalesce(v.visits_without_timestamp, 0) AS visits_without_timestamp
FROM (
    SELECT account_id FROM sync_state UNION SELECT account_id FROM visits
    UNION SELECT account_id FROM credits UNION SELECT account_id FROM usage
)
LEFT JOIN sync_state s USING (account_id)
LEFT JOIN (
    SELECT account_id, CAST(max(started_at) AT TIME ZONE 'UTC' AS DATE) AS last_visit,
        count(*) FILTER (WHERE started_at IS NULL) AS visits_without_timestamp
    FROM visits GROUP BY account_id
) v USING (account_id)
ORDER BY account_id
"""

# A visit is new if it is the first of its company in the database. It is re-engaged if the company's previous visit was
# at least 30 days earlier. Of the visits before the period, only the last one of each company is needed.
PERIOD = """
CREATE OR REPLACE TEMP TABLE period AS
SELECT *, CAST(started AS DATE) AS day, CAST(started AS DATE) >= $start AS in_window,
    CASE
        WHEN company_id IS NULL THEN 'unidentified'
        WHEN previous IS NULL THEN 'new'
        WHEN previous <= started - INTERVAL 30 DAY THEN 'reengaged'
        ELSE 'returning'
    END AS category
FROM (
    SELECT v.*, coalesce(lag(started) OVER (PARTITION BY v.company_id ORDER BY started, id), before.last) AS previous
    FROM (
        SELECT account_id, id, company_id, location_id, source, medium, landing_page_path, visit_length, page_depth,
            started_at AT TIME ZONE $tz AS started
        FROM visits
        WHERE account_id = $account
            AND started_at >= CAST($start_before AS TIMESTAMP) AT TIME ZONE $tz
            AND started_at < CAST(CAST($end AS DATE) + 1 AS TIMESTAMP) AT TIME ZONE $tz
    ) v
    LEFT JOIN (
        SELECT company_id, max(started_at) AT TIME ZONE $tz AS last
        FROM visits
        WHERE account_id = $account AND started_at < CAST($start_before AS TIMESTAMP) AT TIME ZONE $tz
        GROUP BY company_id
    ) before ON before.company_id = v.company_id
)
"""

TOTALS = """
SELECT count(*) AS visits,
    count(DISTINCT company_id) AS companies,
    count(*) FILTER (WHERE category = 'new') AS new,
    count(*) FILTER (WHERE category = 'reengaged') AS reengaged,
    count(*) FILTER (WHERE category = 'returning') AS returning,
    count(*) FILTER (WHERE category = 'unidentified') AS unidentified,
    count(DISTINCT company_id) FILTER (WHERE category = 'reengaged') AS reengaged_companies,
    avg(visit_length) FILTER (WHERE isfinite(visit_length)) AS mean_visit_length,
    avg(page_depth) AS mean_page_depth
FROM period WHERE in_window = $in_window
"""

TIME_BUCKETS = """
SELECT greatest(CAST(date_trunc($granularity, d.day) AS DATE), CAST($start AS DATE)) AS day,
    max(d.day) AS last_day,
    count(*) FILTER (WHERE category = 'new') AS new,
    count(*) FILTER (WHERE category = 'reengaged') AS reengaged,
    count(*) FILTER (WHERE category = 'returning') AS returning,
    count(*) FILTER (WHERE category = 'unidentified') AS unidentified
FROM (
    SELECT CAST(unnest(generate_series(CAST($start AS DATE), CAST($end AS DATE), INTERVAL 1 DAY)) AS DATE) AS day
) d
LEFT JOIN period p ON p.day = d.day
GROUP BY 1 ORDER BY 1
"""

VISITORS = """
SELECT v.company_id AS id, c.name, c.url, c.industry, c.employee_range, coalesce(c.country, c.country_code) AS country,
    c.intent_score, c.intent_tier, c.do_not_contact, coalesce(t.names, []) AS tags, v.visits, v.visit_length,
    v.page_depth, v.last_visit, v.new, v.reengaged
FROM (
    SELECT account_id, company_id, count(*) AS visits,
        sum(visit_length) FILTER (WHERE isfinite(visit_length)) AS visit_length, sum(page_depth) AS page_depth,
        max(started) AS last_visit, bool_or(category = 'new') AS new, bool_or(category = 'reengaged') AS reengaged
    FROM period WHERE in_window AND company_id IS NOT NULL
    GROUP BY account_id, company_id
    ORDER BY visits DESC, visit_length DESC NULLS LAST, company_id
    LIMIT $limit
) v
LEFT JOIN companies c ON c.account_id = v.account_id AND c.id = v.company_id
LEFT JOIN (
    SELECT account_id, company_id, list(coalesce(name, tag_id) ORDER BY coalesce(name, tag_id)) AS names
    FROM (SELECT account_id, id AS company_id, unnest(list_distinct(tag_ids)) AS tag_id FROM companies)
    LEFT JOIN (SELECT account_id, id AS tag_id, name FROM tags) USING (account_id, tag_id)
    GROUP BY account_id, company_id
) t ON t.account_id = v.account_id AND t.company_id = v.company_id
ORDER BY v.visits DESC, v.visit_length DESC NULLS LAST, v.company_id
"""

SYNC_RUN = """
SELECT account_name, previous_finished_at AT TIME ZONE 'UTC' AS previous_finished_at
FROM sync_state WHERE account_id = $account
"""

NEW = """
SELECT count(*) AS visits,
    (SELECT count(*) FROM companies WHERE account_id = $account AND first_seen_at > CAST($since AS TIMESTAMPTZ))
        AS companies
FROM visits WHERE account_id = $account AND first_seen_at > CAST($since AS TIMESTAMPTZ)
"""

NEW_COMPANIES = """
SELECT c.id, c.name, c.url, coalesce(c.country, c.country_code) AS country, count(v.id) AS visits
FROM companies c LEFT JOIN visits v ON v.account_id = c.account_id AND v.company_id = c.id
WHERE c.account_id = $account AND c.first_seen_at > CAST($since AS TIMESTAMPTZ)
GROUP BY ALL ORDER BY visits DESC, c.id LIMIT $limit
"""

_SHARES = """
SELECT label, visits, companies, count(*) OVER () AS distinct_values
FROM (
    SELECT {label} AS label, count(*) AS visits, count(DISTINCT company_id) AS companies
    FROM period
    LEFT JOIN (SELECT account_id, id AS location_id, country, country_code FROM locations) l
        USING (account_id, location_id)
    LEFT JOIN (SELECT account_id, id AS company_id, country, country_code FROM companies) c
        USING (account_id, company_id)
    WHERE in_window GROUP BY 1
)
ORDER BY visits DESC, label NULLS LAST LIMIT $limit
"""
LANDING_PAGES = _SHARES.format(label="landing_page_path")
SOURCES = _SHARES.format(
    label="""CASE WHEN source IS NULL AND medium IS NULL THEN NULL
        ELSE coalesce(source, '(none)') || ' / ' || coalesce(medium, '(none)') END"""
)
COUNTRIES = _SHARES.format(label="coalesce(l.country, c.country, l.country_code, c.country_code)")

# Only readings with the same next reset are compared, because a reset refills the credits.
CREDIT_BALANCE = """
SELECT latest.seen_at AT TIME ZONE 'UTC' AS seen_at, latest.available, latest.used, latest.remaining,
    latest.next_reset_on, earlier.seen_at AT TIME ZONE 'UTC' AS since, latest.used - earlier.used AS used_since
FROM credits latest
LEFT JOIN credits earlier ON earlier.account_id = latest.account_id
    AND earlier.next_reset_on IS NOT DISTINCT FROM latest.next_reset_on
    AND earlier.seen_at <= latest.seen_at - INTERVAL 1 DAY
WHERE latest.account_id = $account
ORDER BY latest.seen_at DESC, earlier.seen_at LIMIT 1
"""

CREDIT_READINGS = """
SELECT CAST(max(seen_at) AT TIME ZONE 'UTC' AS DATE) AS day, arg_max(remaining, seen_at) AS remaining
FROM credits
WHERE account_id = $account AND remaining IS NOT NULL AND CAST(seen_at AT TIME ZONE 'UTC' AS DATE) >= $start
GROUP BY date_trunc($granularity, CAST(seen_at AT TIME ZONE 'UTC' AS DATE)) ORDER BY 1
"""

MONTHLY_USAGE = """
SELECT month, sum(requests) AS requests, sum(credits_charged) AS credits_charged
FROM usage WHERE account_id = $account
GROUP BY month ORDER BY month DESC LIMIT $limit
"""

ENDPOINT_USAGE = """
SELECT method, endpoint, requests, credits_charged
FROM usage
WHERE account_id = $account AND month = (SELECT max(month) FROM usage WHERE account_id = $account)
ORDER BY requests DESC NULLS LAST, endpoint, method LIMIT $limit
"""
