"""What you can ask: one module per noun of the API, each with its rows and the methods that use them.

The operations of contacts, custom feeds, IP enrichment, tags, lists, custom fields, usage, reference data, ICPs, buyer
personas and campaigns follow the same pattern, each in its module here.
"""
