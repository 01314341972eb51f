"""Web visits in responses."""

from __future__ import annotations

from leadfeeder_async.sandbox.query import Query
from leadfeeder_async.sandbox.sample_data import Json, location_attributes


def web_visit_json(query: Query, visit_id: str, company: Json) -> Json:
    """Return a visit with its location and ``company``, which is a record or an id and type."""
    world = query.state.world
    location = world.location_of_visit(visit_id)
    location_json = {
        "id": f"loc-{location}",
        "type": "visit_location",
        "attributes": location_attributes(location),
    }
    relationships = {"company": company, "location": location_json}
    return {
        "id": visit_id,
        "type": "web_visit",
        "attributes": world.visit(visit_id),
        "relationships": relationships,
    }
