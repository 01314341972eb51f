"""Lists of any length: pagers, pages, and the sources that read them."""
