-- The tables of a synced database. Every key begins with the account, so that one file can contain several accounts.
-- Times are in UTC, and durations in seconds. A later version may add columns, but never changes one.
-- The four large tables have no index: merges do not need one, and it would make the file six times as large.

CREATE TABLE IF NOT EXISTS visits (
    account_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    company_id VARCHAR,
    location_id VARCHAR,
    started_at TIMESTAMPTZ,
    source VARCHAR,
    medium VARCHAR,
    campaign VARCHAR,
    keyword VARCHAR,
    referring_url VARCHAR,
    landing_page_path VARCHAR,
    device_type VARCHAR,
    visit_length DOUBLE,
    page_depth INTEGER,
    lf_client_id VARCHAR,
    ga_client_ids VARCHAR[],
    visitor_email VARCHAR,
    visitor_first_name VARCHAR,
    visitor_last_name VARCHAR,
    first_seen_at TIMESTAMPTZ -- when a sync first wrote the row, or null if that was before version 3
);

CREATE TABLE IF NOT EXISTS engagements (
    account_id VARCHAR NOT NULL,
    visit_id VARCHAR NOT NULL,
    step INTEGER NOT NULL, -- 1 for the first page of the visit
    event_type VARCHAR,
    hostname VARCHAR,
    page_path VARCHAR,
    page_title VARCHAR,
    page_url VARCHAR,
    previous_page_path VARCHAR,
    time_on_page DOUBLE,
    has_met_goals BOOLEAN
);

CREATE TABLE IF NOT EXISTS companies (
    account_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    name VARCHAR,
    url VARCHAR,
    country_code VARCHAR,
    country VARCHAR,
    region VARCHAR,
    city VARCHAR,
    postal_code VARCHAR,
    street_address VARCHAR,
    industry VARCHAR,
    nace VARCHAR[],
    employee_count BIGINT,
    employee_range VARCHAR,
    revenue_eur DOUBLE,
    founded_year INTEGER,
    legal_form VARCHAR,
    vat_id VARCHAR,
    intent_score DOUBLE,
    intent_tier VARCHAR,
    do_not_contact BOOLEAN,
    tag_ids VARCHAR[],
    list_ids VARCHAR[],
    first_seen_at TIMESTAMPTZ -- when a sync first wrote the row, or null if that was before version 3
);

CREATE TABLE IF NOT EXISTS locations (
    account_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    country_code VARCHAR,
    country VARCHAR,
    region VARCHAR,
    city VARCHAR,
    postal_code VARCHAR
);

CREATE TABLE IF NOT EXISTS tags (
    account_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    name VARCHAR,
    color INTEGER,
    PRIMARY KEY (account_id, id)
);

CREATE TABLE IF NOT EXISTS lists (
    account_id VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    name VARCHAR,
    scope VARCHAR, -- company or contact
    item_count BIGINT,
    PRIMARY KEY (account_id, id)
);

CREATE TABLE IF NOT EXISTS usage (
    account_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL, -- YYYY-MM
    method VARCHAR NOT NULL,
    endpoint VARCHAR NOT NULL,
    requests BIGINT,
    credits_charged BIGINT,
    PRIMARY KEY (account_id, month, method, endpoint)
);

CREATE TABLE IF NOT EXISTS credits (
    account_id VARCHAR NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL, -- one row per run
    available BIGINT,
    used BIGINT,
    remaining BIGINT,
    next_reset_on DATE,
    PRIMARY KEY (account_id, seen_at)
);

CREATE TABLE IF NOT EXISTS sync_state (
    account_id VARCHAR NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    first_day DATE NOT NULL, -- the first synced day
    last_day DATE, -- the last synced day, which the next run reads again because visits may arrive late
    finished_at TIMESTAMPTZ, -- the time at which the last complete run finished
    reread_on DATE, -- the day on which all days of the lookback were last read
    account_name VARCHAR,
    previous_finished_at TIMESTAMPTZ, -- the time at which the complete run before the last one finished
    visit_counts VARCHAR -- visits of recent days as the server counted them before the last read: {"2026-11-01": 9}
);

-- Columns that a file of version 1 does not have.
ALTER TABLE sync_state ADD COLUMN IF NOT EXISTS reread_on DATE;

-- Columns that a file of version 2 does not have.
ALTER TABLE sync_state ADD COLUMN IF NOT EXISTS account_name VARCHAR;
ALTER TABLE sync_state ADD COLUMN IF NOT EXISTS previous_finished_at TIMESTAMPTZ;
ALTER TABLE visits ADD COLUMN IF NOT EXISTS first_seen_at TIMESTAMPTZ;
ALTER TABLE companies ADD COLUMN IF NOT EXISTS first_seen_at TIMESTAMPTZ;

-- A column that a file of version 3 does not have.
ALTER TABLE sync_state ADD COLUMN IF NOT EXISTS visit_counts VARCHAR;

-- One row per visit with its company and location, with the columns of an exported visit.
CREATE OR REPLACE VIEW visit_rows AS
SELECT
    v.account_id, v.id, v.source, v.medium, v.campaign, v.keyword, v.referring_url, v.landing_page_path, v.device_type,
    v.visit_length, v.page_depth, v.started_at,
    v.lf_client_id AS "identifiers.lf_client_id",
    to_json(v.ga_client_ids)::VARCHAR AS "identifiers.ga_client_ids",
    v.visitor_email AS "visitor.email",
    v.visitor_first_name AS "visitor.first_name",
    v.visitor_last_name AS "visitor.last_name",
    v.company_id AS "company.id",
    c.name AS "company.name",
    c.url AS "company.url",
    c.country AS "company.country",
    c.country_code AS "company.country_code",
    c.city AS "company.city",
    c.industry AS "company.industry",
    c.employee_range AS "company.employee_range",
    c.employee_count AS "company.employee_count",
    c.revenue_eur AS "company.revenue_eur",
    c.intent_score AS "company.intent_score",
    v.location_id AS "location.id",
    l.city AS "location.city",
    l.region AS "location.region",
    l.country AS "location.country",
    l.country_code AS "location.country_code",
    v.first_seen_at
FROM visits v
LEFT JOIN companies c ON c.account_id = v.account_id AND c.id = v.company_id
LEFT JOIN locations l ON l.account_id = v.account_id AND l.id = v.location_id;
CREATE OR REPLACE VIEW company_rows AS
SELECT
    account_id, id, name, url, employee_count, employee_range,
    street_address AS "address.street_address",
    postal_code AS "address.postal_code",
    city AS "address.city",
    country AS "address.country",
    country_code AS "address.country_code",
    region AS "address.region",
    revenue_eur AS "revenue.value_eur",
    founded_year, legal_form, vat_id,
    intent_score AS "intent.score",
    intent_tier AS "intent.score_tier",
    do_not_contact AS "meta.do_not_contact",
    industry, nace, tag_ids, list_ids, first_seen_at
FROM companies;
