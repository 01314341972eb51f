"""A call of every operation in the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from leadfeeder_async import AsyncLeadfeeder

DATES = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
LINKED_IDS = ["1"]

CALLS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[Any]]] = {
    "list_accounts": lambda lf: lf.accounts.list(),
    "get_company": lambda lf: lf.companies.get("159001425", include=["tags", "crm_connections.crm_record"]),
    "retrieve_companies": lambda lf: lf.companies.get_many(["159001425", "159007788"], include=["tags"]).collect(),
    "get_company_financials": lambda lf: lf.companies.financials("159001425"),
    "search_company_signals": lambda lf: lf.companies.search_signals(
        company_ids=["159001425"], categories=["job_ads"], event_date={"from": "2026-01-01", "to": "2026-11-01"}
    ).collect(),
    "search_companies": lambda lf: lf.companies.search(
        search_terms=["robotics"],
        locations=[{"country_code": "DE", "geo": {"latitude": 53.5, "longitude": 10, "distance": 50}}],
        industries={"codes": ["28.99"], "classification": "nace"},
        employee_ranges=["101-500"],
        revenue={"min": 1},
        icp_ids=["icp-12"],
        filters={"has_email": True},
    ).first(),
    "match_companies": lambda lf: lf.companies.match([{"company_name": "Nordlicht"}, {"url": "x.test"}], 3),
    "retrieve_company_ips": lambda lf: lf.companies.ips(["159001425"], 5, include=["company"]),
    "add_company_to_lists": lambda lf: lf.companies.add_to_lists("159001425", LINKED_IDS),
    "remove_company_from_lists": lambda lf: lf.companies.remove_from_lists("159001425", LINKED_IDS),
    "assign_tags_to_company": lambda lf: lf.companies.assign_tags("159001425", LINKED_IDS),
    "unassign_tags_from_company": lambda lf: lf.companies.unassign_tags("159001425", LINKED_IDS),
    "get_contact": lambda lf: lf.contacts.get("52200417", include=["company"]),
    "retrieve_contacts": lambda lf: lf.contacts.get_many(["52200417"]).collect(),
    "search_contacts": lambda lf: lf.contacts.search(
        search_terms=["a"], emails=["a@b.test"], company_ids=["1"], positions=["x"], departments=["sales_department"],
        hierarchy_levels=["top_management"], affiliation="x", buyer_persona_ids=["bp-1"], filters={"has_email": True},
    ).collect(),
    "add_contact_to_lists": lambda lf: lf.contacts.add_to_lists("52200417", LINKED_IDS),
    "remove_contact_from_lists": lambda lf: lf.contacts.remove_from_lists("52200417", LINKED_IDS),
    "search_web_visits": lambda lf: lf.web_visits.search(
        **DATES, company_id="1", filters={"location_country_codes": ["DE"]}, include=["company"]
    ).first(),
    "retrieve_visitor_companies": lambda lf: lf.web_visits.companies(**DATES, custom_feed_id="6", include=["company"]).first(),
    "get_web_visits_tracker_script": lambda lf: lf.web_visits.tracker_script(),
    "retrieve_custom_feeds": lambda lf: lf.custom_feeds.list(include=["folder"], has_connected_list=False).collect(),
    "create_custom_feed": lambda lf: lf.custom_feeds.create(name="Pricing", filters=[{"field": "x"}]),
    "get_custom_feed": lambda lf: lf.custom_feeds.get("6", include=["folder"]),
    "update_custom_feed": lambda lf: lf.custom_feeds.update("6", name="Price"),
    "delete_custom_feed": lambda lf: lf.custom_feeds.delete("6"),
    "retrieve_custom_feed_folders": lambda lf: lf.custom_feeds.folders(include=["custom_feeds"]),
    "enrich_ip": lambda lf: lf.ip.enrich("203.0.113.17"),
    "retrieve_tags": lambda lf: lf.tags.list().collect(),
    "create_tag": lambda lf: lf.tags.create(name="Hot", color=3),
    "get_tag": lambda lf: lf.tags.get("7001"),
    "update_tag": lambda lf: lf.tags.update("7001", name="Warm", color=4),
    "delete_tag": lambda lf: lf.tags.delete("7001"),
    "retrieve_lists": lambda lf: lf.lists.list(scope="company").collect(),
    "create_list": lambda lf: lf.lists.create(name="DACH", scope="company"),
    "get_list": lambda lf: lf.lists.get("8101"),
    "update_list": lambda lf: lf.lists.update("8101", name="DACH 2"),
    "delete_list": lambda lf: lf.lists.delete("8101"),
    "list_items": lambda lf: lf.lists.items("8101").collect(),
    "retrieve_custom_fields": lambda lf: lf.custom_fields.list(scope="company", type="select").collect(),
    "create_custom_field": lambda lf: lf.custom_fields.create(name="Tier", scope="company", type="select"),
    "get_custom_field": lambda lf: lf.custom_fields.get("contract_tier"),
    "update_custom_field": lambda lf: lf.custom_fields.update("contract_tier", name="Tier"),
    "delete_custom_field": lambda lf: lf.custom_fields.delete("contract_tier"),
    "get_usage": lambda lf: lf.usage.get(start_period="2026-10", end_period="2026-11"),
    "list_industries": lambda lf: lf.reference.industries(),
    "get_current_user": lambda lf: lf.users.me(),
    "list_campaigns": lambda lf: lf.campaigns.list(include=["list"]).collect(),
    "get_campaign": lambda lf: lf.campaigns.get("cmp-4", include=["list"]),
    "get_campaign_stats": lambda lf: lf.campaigns.stats(
        "cmp-4", start_period="2026-11-01", end_period="2026-11-30", frequency="daily"
    ).collect(),
    "list_icps": lambda lf: lf.icps.list().collect(),
    "get_icp": lambda lf: lf.icps.get("icp-12"),
    "list_buyer_personas": lambda lf: lf.buyer_personas.list().collect(),
    "get_buyer_persona": lambda lf: lf.buyer_personas.get("bp-31"),
}  # fmt: skip
