"""What tests share: toy projects, tiny models, servers, and readers of pages and tables."""
