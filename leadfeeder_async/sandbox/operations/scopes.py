"""The OAuth2 scope that an access token needs for each operation, as far as public sources name it."""

_OPERATIONS = {
    "accounts:read": ("list_accounts",),
    "companies:read": (
        "enrich_ip",
        "get_company",
        "get_company_financials",
        "match_companies",
        "retrieve_companies",
        "retrieve_company_ips",
        "search_companies",
        "search_company_signals",
    ),
    "companies:write": (
        "add_company_to_lists",
        "assign_tags_to_company",
        "remove_company_from_lists",
        "unassign_tags_from_company",
    ),
    "contacts:read": (
        "get_contact",
        "retrieve_contacts",
        "search_contacts",
    ),
    "contacts:write": (
        "add_contact_to_lists",
        "remove_contact_from_lists",
    ),
    "custom_fields:read": (
        "get_custom_field",
        "retrieve_custom_fields",
    ),
    "custom_fields:write": (
        "create_custom_field",
        "delete_custom_field",
        "update_custom_field",
    ),
    "lists:read": (
        "get_list",
        "retrieve_lists",
    ),
    "lists:write": (
        "create_list",
        "delete_list",
        "update_list",
    ),
    "tags:read": (
        "get_tag",
        "retrieve_tags",
    ),
    "tags:write": (
        "create_tag",
        "delete_tag",
        "update_tag",
    ),
    "usage:read": ("get_usage",),
    "web_visits:read": (
        "get_custom_feed",
        "get_web_visits_tracker_script",
        "retrieve_custom_feed_folders",
        "retrieve_custom_feeds",
        "retrieve_visitor_companies",
        "search_web_visits",
    ),
    "web_visits:write": (
        "create_custom_feed",
        "delete_custom_feed",
        "update_custom_feed",
    ),
}

SCOPES = {operation: scope for scope, operations in _OPERATIONS.items() for operation in operations}
"""The scopes by operation. Operations that are not listed need none."""
