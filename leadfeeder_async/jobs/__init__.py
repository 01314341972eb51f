"""Long jobs: exports, syncs, enrichments, bulk changes and watches. All of them continue after an interruption."""
