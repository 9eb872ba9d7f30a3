"""Data: from files, the hub or docstrings (`load`) to rows (`rows`), and from rows to padded batches (`batches`)."""
