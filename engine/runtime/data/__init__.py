"""What executions leave behind, written down and read back: records, payload files, pages and profiles of them."""
